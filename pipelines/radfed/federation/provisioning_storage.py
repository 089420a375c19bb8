"""Where a server keeps its jobs: in its own kit, so that two federations on one host share nothing."""

from pathlib import Path

from nvflare.app_common.storages.filesystem_storage import FilesystemStorage


class KitStorage(FilesystemStorage):  # type: ignore[misc] # nvflare has no types
    """FLARE's file storage, with a root that is relative to the kit, however the kit is moved.

    FLARE itself takes absolute roots only, and its templates name folders that all servers of a host share. Its
    server processes change to the kit's folder before they build a component; that is what the root hangs from.

    Args:
        root_dir: folder below the kit.
        uri_root: the storage's own top, as FLARE names objects.
    """

    def __init__(self, root_dir: str = ".", uri_root: str = "/") -> None:
        super().__init__(root_dir=str(Path(root_dir).absolute()), uri_root=uri_root)
