import os

os.nice(10)  # before anything is imported: the kubelet starts at the same moment (main.py)

from ingress.main import main  # noqa: E402

main()
