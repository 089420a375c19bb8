from tests.integration.orthanc import orthanc, tls_orthanc

__all__ = ["orthanc", "tls_orthanc"]
