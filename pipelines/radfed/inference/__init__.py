"""From a scan to a mask on the scan's own grid; imports neither torch nor monai nor nvflare."""
