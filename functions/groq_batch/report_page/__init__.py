"""The report of a job for people: one HTML page that needs nothing beside itself.

``view`` decides what it says, ``charts`` draws, ``rendering`` puts both into the template, and
``pages`` writes it to the bucket. Jinja and the SVG library are imported when a page is made, so
that no other step of a job waits for them.
"""
