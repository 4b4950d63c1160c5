"""The classical methods of expression synthesis, one file each, behind the contract of every engine."""
