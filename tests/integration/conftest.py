import sys
from pathlib import Path

# tools/ is no part of the package; the tests of a PACS start the one that an operator would start.
sys.path.append(str(Path(__file__).parents[2]))

from orthanc import orthanc, tls_orthanc  # type: ignore[import-not-found]

__all__ = ["orthanc", "tls_orthanc"]
