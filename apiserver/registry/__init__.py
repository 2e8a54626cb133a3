"""Kinds at run time: what a kind is (`kind.py`), which are served (`registry.py`), how its objects are written
(`write.py`: who wants what; `store.py`: the order of every write). `rules.py`, `columns.py` and `names.py` are the
words in which the modules of `apiserver/kinds/` say what is theirs.
"""
