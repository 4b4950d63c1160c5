"""The judge of faces: what an engine draws against photos of real people, and against what it was told to do.

``avatar eval expression`` (:mod:`.evaluate`) and ``avatar eval generator`` (:mod:`.generator`).
"""
