"""A model of AWS: what jobs cost there and how long they take, from counted calls.

Nothing is sent anywhere. The calls are those of the real handlers under the shipped state machine,
counted in the tests' world, where no time passes while a function works; what a call takes and
costs at AWS stands in ``assumptions.py``, with its source. The counts are kept in ``counts.json``,
so that this folder needs no test to run; ``tests/workflow/test_aws_model.py`` counts again and
fails when code or state machine have changed.
"""
