"""
Random histories of small files, imported in two worlds that nobody may be able to tell apart.

One compares each file with an earlier one and passes over what stayed the same, the other forgets what to compare with
and examines every file whole. `files` makes users files and changes them, `worlds` imports, `history` decides what
comes next and compares.
"""
