"""
What a file means for the users already recorded: the limits on what one file may change unasked, and who stays.

Pure, but for `protection`, which reads a list.
"""
