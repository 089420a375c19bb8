"""The federation on NVIDIA FLARE: the only folder that imports nvflare."""
