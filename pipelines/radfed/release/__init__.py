"""The package that others can use and check: ONNX export, parity gate, release folder, verification."""
