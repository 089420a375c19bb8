"""What only the base install has, in an environment that has everything."""

WITHOUT_TRAINING = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "monai", "nvflare", "onnxscript"):
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Missing())
"""
"""Python that makes importing torch, MONAI and FLARE fail, as it does where they are not installed."""
