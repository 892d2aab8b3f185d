"""Why a scanner does not show an exam: told by the rules that the SCP answers by.

`explanation` puts it together, `words` and `short` tell it; `nearness`, `keys` and `suspects` are
pure.
"""
