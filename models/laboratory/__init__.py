"""The laboratory of classical methods: what the engines of :mod:`avatar.engines.classical` are made of.

One recipe a method (``avatar train NAME``), each a function from :class:`.people.Example` to arrays; everything is
learnt five times, from everybody and without the people of each fold (:mod:`avatar.models.disjoint`).
"""
