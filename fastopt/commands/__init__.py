"""What `python -m fastopt` can do: demo, info, methods."""
