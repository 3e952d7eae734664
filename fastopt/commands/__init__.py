"""What `python -m fastopt` can do: demo, bench, info, methods."""
