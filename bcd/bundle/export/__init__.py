"""A bundle as one file of another library: HDF5, ONNX, OpenVINO."""
