"""From values to text on the two streams of this process.

Data goes to standard output, one value or row a line. Messages go to standard error and begin with ``oneshot-queue:``.
On a terminal people get tables, colours and escaped output; a pipe or file gets plain columns and a job's bytes
unchanged. ``--json`` prints one JSON value.

::

    json          the objects that --json prints
    tables        tables and plain columns          listing       which of both to print
    job_text      a job's command and state         job_output    a job's output streams
    terminal      lines, messages, colours          escape        untrusted text, made safe for a terminal
    library_log   the library's warnings as messages
"""
