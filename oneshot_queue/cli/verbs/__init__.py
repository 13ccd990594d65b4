"""One module per verb, named as the verb.

``add_to`` registers the verb with typer, and the function named as the verb runs it: its docstring is the help, its
return value the exit code. A verb reads its arguments (``arguments``), opens a queue, calls the client's method, and
prints the answer (``output``). It makes no decisions about jobs; the client and the store do.

Errors are not caught here unless the verb goes on after them: ``cli.main`` prints them and chooses the exit code.
"""
