"""Emotion of speech: training and judging of :class:`avatar.analysis.emotion.EmotionEstimator`."""
