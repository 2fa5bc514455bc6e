"""What a loss must do, one subject per file; `segkit.commands.check_loss` runs them and prints the table.

A check is a function of a Subject whose first docstring line is what it promises. It returns if that holds,
raises Violation with the first counterexample if not, and NotApplicable with the reason if a loss need not.
"""
