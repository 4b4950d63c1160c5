"""The learned recipes of the laboratory: image translation, face editing and generation by small networks.

One trainer (:mod:`.trainer`), one contract (:mod:`.base`), one data pipeline (:mod:`.data`), one set of blocks
(:mod:`.blocks`); a recipe is its networks, its losses, its schedule and its judge, a file each.
"""
