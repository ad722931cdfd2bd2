"""The scenes of the example workflows."""

from __future__ import annotations

from dataclasses import replace

from .looks import DAY, DUSK
from .things import Block, Car, Lamp, Person, Scene, Sign, Tree

DAY_STREET = Scene(
    look=DAY,
    vanishing=(0.46, 0.47),
    clouds=((0.22, 0.12, 0.2), (0.55, 0.2, 0.14)),
    seed=1,
    things=(
        Block(-1, 40, 62, 11),
        Block(-1, 24, 39, 15),
        Block(-1, 9, 22, 12),
        Block(1, 46, 70, 10),
        Block(1, 20, 44, 13),
        Tree(7.8, 15),
        Tree(7.8, 26),
        Tree(-7.8, 20, 5.5),
        Lamp(-5.6, 17),
        Lamp(5.6, 24),
        Sign(5.4, 10.5),
        Person(-5.9, 13, 0),
        Person(-6.5, 14, 1),
        Person(6.0, 16, 2),
        Car(-2.2, 15, 1),
        Car(2.2, 9.0, 0),
        Car(2.0, 20, 2),
    ),
)
DUSK_STREET = Scene(
    look=DUSK,
    vanishing=(0.55, 0.49),
    clouds=((0.75, 0.14, 0.22), (0.45, 0.08, 0.14), (0.5, 0.3, 0.1)),
    seed=2,
    things=(
        Block(-1, 50, 72, 8),
        Block(-1, 14, 26, 9),
        Block(1, 42, 66, 14),
        Block(1, 25, 40, 18),
        Block(1, 9, 23, 13),
        Tree(-7.8, 30, 6.5),
        Tree(-7.8, 14.5, 5.0),
        Tree(7.8, 28, 5.0),
        Lamp(5.6, 16),
        Lamp(-5.6, 19),
        Sign(-5.3, 15),
        Person(5.9, 14, 1),
        Person(-6.1, 11.5, 0),
        Car(-2.2, 8.6, 1),
        Car(2.2, 13, 2),
        Car(-2.0, 22, 3),
    ),
)
WIDE_AVENUE = Scene(
    look=replace(DAY, facades=((198, 190, 182), (172, 158, 150), (210, 196, 170))),
    vanishing=(0.5, 0.45),
    clouds=((0.62, 0.13, 0.24), (0.3, 0.22, 0.16)),
    seed=3,
    things=(
        Block(-1, 34, 60, 16),
        Block(-1, 12, 30, 10),
        Block(1, 30, 60, 12),
        Block(1, 10, 26, 16),
        Tree(-7.8, 16, 5.6),
        Tree(-7.8, 25, 6.0),
        Tree(7.8, 26, 6.0),
        Lamp(5.6, 18),
        Sign(-5.4, 12.5),
        Person(6.1, 12.5, 0),
        Car(2.3, 11.5, 3),
        Car(-2.1, 18, 0),
    ),
)
PARK_ROAD = Scene(
    look=DAY,
    vanishing=(0.42, 0.5),
    seed=4,
    things=(
        Block(-1, 44, 66, 9),
        Block(1, 13, 34, 11),
        Block(1, 40, 66, 15),
        Tree(-7.8, 9.5, 6.5),
        Tree(-7.9, 14, 5.8),
        Tree(-7.8, 20, 6.5),
        Tree(-7.8, 29, 6.0),
        Tree(-8.4, 38, 6.0),
        Tree(7.8, 12, 5.0),
        Lamp(-5.6, 16),
        Person(5.8, 10, 2),
        Person(6.3, 10.6, 0),
        Car(-2.2, 10, 2),
        Car(2.2, 16, 1),
    ),
)
# The same avenue after an edit: a car more on the left, a tree in front of the house on the right.
EDITED_AVENUE = replace(WIDE_AVENUE, things=(*WIDE_AVENUE.things, Car(-2.2, 9.0, 1), Tree(7.7, 15.5, 7.0)))
MASKS = {
    "exemplar_day_white_car": (DAY_STREET, Car(-2.2, 15, 1)),
    "exemplar_day_red_car": (DAY_STREET, Car(2.2, 9.0, 0)),
    "target_avenue_left_car": (WIDE_AVENUE, Car(-2.1, 18, 0)),
    "target_avenue_right_car": (WIDE_AVENUE, Car(2.3, 11.5, 3)),
}

PICTURES = {"exemplar_day": DAY_STREET, "exemplar_dusk": DUSK_STREET, "target_avenue": WIDE_AVENUE}
LABEL_MAPS = PICTURES | {"target_park": PARK_ROAD, "target_avenue_edited": EDITED_AVENUE}
WITH_WINDOWS = ("exemplar_day", "target_avenue")
# A folder to find exemplars in.
STREETS = {
    "day_street": DAY_STREET,
    "dusk_avenue": replace(WIDE_AVENUE, look=DUSK, vanishing=(0.6, 0.5)),
    "dusk_street": DUSK_STREET,
    "park_road": PARK_ROAD,
}
