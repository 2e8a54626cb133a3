"""HTTP: who asks for what, in which form (`request.py`, `guard.py`), and answers (`responses.py`, `render.py`)."""
