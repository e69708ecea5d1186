"""
Faults on purpose: killed, refused, cut off from power at every step, and a judge who looks at what is left.

`ground` is an installation and what was uploaded to it, `checker` the judge, `nursery` runs the command line many times
a second, `tracing` makes its system calls fail, `disk` is a file system that can lose power, `broken` has the mistakes
that the judge must find.

`make test` takes a sample of the points, `make faults` all of them.
"""
