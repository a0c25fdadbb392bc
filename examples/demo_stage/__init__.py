"""What the demo stands on: servers, clients and a screen. The story itself is in `demo.py`."""
