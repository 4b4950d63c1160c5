"""Studies of opinion: people rate or compare what several engines made, without knowing which is which.

Ratings follow the absolute category rating of ITU-T P.910 (1 bad to 5 excellent), pairs its pair comparison. No mean is
given out before :data:`avatar.models.study.analysis.MINIMUM` attentive people have finished.
"""
