"""Learned methods of the laboratory as engines: StarGAN, ExprGAN, GANimation, small and drawn from drawn faces."""
