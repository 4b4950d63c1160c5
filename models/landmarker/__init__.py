"""MediaPipe's Face Landmarker without MediaPipe: its three networks for ONNX Runtime, and its face for the pose."""
