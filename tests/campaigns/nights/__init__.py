"""What the simulation of many nights is made of.

`world` are the sources and the profile, `accidents` what happens to them, `running` how a night is
run, killed and run beside another one, `checks` what has to be true afterwards.
"""
