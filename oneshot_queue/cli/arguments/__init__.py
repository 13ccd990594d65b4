"""From the words of a command line to values.

Typer hands over every option as text or a flag (see ``commands``). The functions here convert that text and raise
``UsageProblem`` with the option's name, before anything is stored or started.

::

    common        options that several verbs share, and readers for durations, numbers and key=value pairs
    job           the options of a job, for enqueue and run
    worker        the options of a worker, for worker and up
    destination   which broker, and the connection to it
    last_job      the job of an ID argument, including `last`
"""
