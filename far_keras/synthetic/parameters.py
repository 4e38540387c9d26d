"""What a rendered image depends on: a `Person`, and a `Shot`, which is one image of them.

Both are plain data. `population` draws them, `renderer` turns them into pixels, `labels` decides
which attributes are visible in the result; none of the three reads anything else.

Units: lengths are the head mesh's (1 unit = 1 decimetre), angles are degrees, colours are
linear RGB in [0, 1], strengths run from 0 (absent) to 1 (full) unless a range is given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

RGB = tuple[float, float, float]
Garment = Literal[
    "crew", "vneck", "shirt", "suit", "turtleneck", "scoop", "boat", "straps", "strapless", "hoodie"
]  # fmt: skip
Glasses = Literal[
    "round", "oval", "rectangular", "square", "cat-eye", "aviator", "browline", "rimless"
]
Necklace = Literal["chain", "pendant", "beads", "choker", "cord", "layered", "statement"]


@dataclass(frozen=True)
class Face:
    """The shape of a face. Signed strengths are 0 for an average face, about -1 to 1.7."""

    masculinity: float  # 0 feminine .. 1 masculine
    ancestry: RGB  # weights of the mesh's three base shapes (caucasian, african, asian), sum 1
    weight: float  # 0 thin .. 1 heavy
    nose_size: float
    nose_point: float
    lip_volume: float
    eye_opening: float  # negative: narrow
    cheekbones: float
    cheek_volume: float
    eye_bags: float  # 0 .. 1
    double_chin: float  # 0 .. 1
    oval: float  # 0 .. 1
    outline: Literal["oval", "square", "round", "rectangular", "diamond", "triangular"]
    variation_seed: int  # all other shape details of this person


@dataclass(frozen=True)
class Hair:
    """Head hair and brows. `style` says where it grows to."""

    style: Literal["bald", "buzzed", "short", "medium", "long", "bun", "ponytail", "updo", "afro"]
    color: RGB
    wave: float  # 0 straight .. 0.4 wavy .. 1 curly
    receding: float  # 0 .. 1
    bangs: float  # 0 none .. 1 full fringe
    parting: float  # -1 image left .. 1 image right
    volume: float  # 0 flat .. 1 voluminous
    sideburns: float  # 0 .. 1
    brow_thickness: float  # 0 thin .. 1 bushy
    brow_arch: float  # 0 flat .. 1 arched
    brow_color: RGB
    brow_length: float = 0.5  # 0 half a brow .. 1 far beyond the eye's corner
    brow_angle: float = 0.0  # -1 outer ends hang .. 1 they rise
    brow_gap: float = 0.5  # between the brows: 0 they meet .. 1 wide
    brow_fill: float = 0.0  # 0 sparse hairs .. 1 pencilled in
    cut: Literal["side", "forward", "back", "up", "tousled"] = "side"  # of men's short hair
    sides: float = 0.5  # of short hair: 0 shaved .. 1 as long as it grows
    hairline: float = 0.0  # -1 low .. 1 a high forehead, rounded: not receding
    thinning: float = 0.0  # how far the scalp shines through on top
    fall: float = 0.3  # 0 kept behind the cheeks .. 1 falls over them
    loose: float = 0.0  # strands that the comb has missed
    tips: RGB | None = None  # dyed or faded ends; None: as the roots
    streaks: float = 0.0  # share of locks in the colour of the tips, from the root on


@dataclass(frozen=True)
class Beard:
    """Facial hair by place; `shadow` is stubble too short to be seen as hairs."""

    shadow: float = 0.0
    mustache: float = 0.0
    goatee: float = 0.0
    cheeks: float = 0.0  # jaw and cheeks: with the others, a full beard
    length: float = 0.0  # decimetres
    color: RGB = (0.02, 0.02, 0.02)
    mustache_style: Literal["natural", "chevron", "pencil", "handlebar"] = "natural"
    goatee_style: Literal["circle", "chin", "anchor"] = "circle"
    patchy: float = 0.0  # 0 grows evenly .. 1 in patches
    grey: float = 0.0  # share of white hairs


@dataclass(frozen=True)
class Skin:
    """What skin, lips and teeth are like beyond colour and age."""

    pores: float = 0.4
    shine: float = 0.4  # 0 matt .. 1 oily
    moles: float = 0.15
    blemishes: float = 0.0  # red spots
    mouth_shade: float = 0.0  # down and darker skin over the upper lip: no mustache
    lip_depth: float = 0.4  # of the bare lips' own red
    smile_folds: float = 0.4  # how deep a smile folds the cheeks, whatever the age
    teeth: float = 0.7  # 0 yellow .. 1 white


@dataclass(frozen=True)
class Person:
    """What all images of one identity share."""

    identity: int
    male: bool
    age: float  # years, 18 .. 85; a child's face from 6 on, which no population draws
    face: Face
    melanin: float  # 0 very pale .. 1 very dark
    skin_redness: float  # 0 sallow .. 1 ruddy
    freckles: float
    iris_color: RGB
    hair: Hair
    beard: Beard
    skin: Skin = field(default_factory=Skin)


@dataclass(frozen=True)
class Expression:
    smile: float = 0.0
    grin: float = 0.0  # lips drawn back from the teeth
    jaw_open: float = 0.0
    brow_raise: float = 0.0  # negative: lowered
    squint: float = 0.0
    blink: float = 0.0
    pucker: float = 0.0
    gaze: tuple[float, float] = (0.0, 0.0)  # degrees right, up


@dataclass(frozen=True)
class Makeup:
    lipstick: float = 0.0
    lipstick_color: RGB = (0.5, 0.05, 0.1)
    lip_gloss: float = 0.3  # 0 matt .. 1 wet
    eyeshadow: float = 0.0
    eyeshadow_color: RGB = (0.2, 0.1, 0.1)
    eyeliner: float = 0.0
    wing: float = 0.0  # how far the liner is drawn out at the outer corner
    lashes: float = 0.0  # mascara and false lashes
    blush: float = 0.0
    foundation: float = 0.0  # evens out the skin
    contour: float = 0.0  # darker hollows, lighter cheekbones and nose


@dataclass(frozen=True)
class Accessories:
    """What is worn. None means that it is not."""

    glasses: Glasses | None = None
    glasses_size: float = 0.5  # 0 small .. 1 oversized
    glasses_color: RGB = (0.02, 0.02, 0.02)
    lenses: Literal["clear", "tinted", "dark", "mirrored"] = "clear"
    hat: Literal["cap", "beanie", "brimmed", "bucket", "hood", "headscarf"] | None = None
    hat_color: RGB = (0.1, 0.1, 0.3)
    earrings: Literal["stud", "hoop", "drop", "long", "chandelier"] | None = None
    earring_size: float = 0.5  # 0 small .. 1 large
    necklace: Necklace | None = None
    jewellery_color: RGB = (0.8, 0.55, 0.2)
    clothing: Garment = "crew"
    pattern: Literal["plain", "stripes", "checks", "dots", "floral"] = "plain"  # of the cloth
    pattern_color: RGB = (0.6, 0.6, 0.6)
    necktie: bool = False  # shown with "shirt" and "suit"
    clothing_color: RGB = (0.2, 0.2, 0.3)
    necktie_color: RGB = (0.3, 0.05, 0.05)

    @property
    def sunglasses(self) -> bool:
        """Whether the lenses hide the eyes."""
        return self.glasses is not None and self.lenses in ("dark", "mirrored")


@dataclass(frozen=True)
class Light:
    """Directions are unit vectors towards the light in the camera's frame: right, up, to us."""

    key_direction: RGB = (0.3, 0.4, 0.85)
    key_color: RGB = (1.0, 1.0, 1.0)
    softness: float = 0.2  # of the key: 0 hard as the sun .. 1 soft as a large window
    fill_direction: RGB | None = None  # None: from the other side than the key
    fill_color: RGB = (0.2, 0.2, 0.2)
    ambient_color: RGB = (0.35, 0.35, 0.35)
    rim_direction: RGB | None = None  # from behind; None: from the other side than the key
    rim_color: RGB = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Camera:
    yaw: float = 0.0  # of the head, positive to the image's right
    pitch: float = 0.0  # positive: looks up
    roll: float = 0.0
    distance: float = 10.0  # decimetres, eye to camera
    tilt: float = 0.0  # of the image, clockwise, that the alignment has left over
    exposure: float = 1.0
    white_balance: float = 0.0  # negative cool .. positive warm
    tint: float = 0.0  # negative green .. positive magenta
    blur: float = 0.0  # out of focus: standard deviation in pixels of the final image
    motion: float = 0.0  # pixels that the image moved while it was taken
    motion_angle: float = 0.0
    resolution: float = 1.0  # of the photograph's face, as a share of the final image's
    noise: float = 0.0  # standard deviation, 0 .. 0.08
    jpeg_quality: int = 92

    @property
    def spread(self) -> float:
        """Standard deviation, in final pixels, of all that blurs: focus, motion, enlargement."""
        # A line of length m has a deviation of m / sqrt(12); an enlarged pixel one of about 0.45.
        enlarged = 0.45 * math.sqrt(max(self.resolution**-2 - 1, 0))
        return math.hypot(self.blur, self.motion / math.sqrt(12), enlarged)


@dataclass(frozen=True)
class Finish:
    """What a camera's processing and an editor do to an image after it is taken."""

    contrast: float = 1.0  # slope of the tone curve in the middle
    saturation: float = 1.0  # 0 black and white
    toning: float = 0.0  # black and white turned brown, 0 .. 1
    fade: float = 0.0  # haze, faded prints: how far black is lifted, 0 .. 0.25
    vignette: float = 0.0  # light that is missing in the corners, 0 .. 0.7
    sharpening: float = 0.0


@dataclass(frozen=True)
class Background:
    kind: Literal[
        "studio", "gradient", "indoor", "outdoor", "bokeh", "people", "press", "night", "blinds"
    ] = "gradient"
    brightness: float = 1.0
    color: RGB = (1.0, 1.0, 1.0)  # of the light on it
    blur: float = 2.0  # standard deviation in pixels of the final image


@dataclass(frozen=True)
class Occluder:
    """A thing in front of the person, or next to them at the image's border."""

    kind: Literal["hand", "microphone", "head", "mask"]
    side: float = 1.0  # -1 image left, 1 image right; a mask has none
    nearness: float = 0.5  # 0 at the border .. 1 over the face; a mask: 0 below the nose .. 1 high


@dataclass(frozen=True)
class Border:
    """The photograph ends within the aligned image: what an alignment puts beyond its edge."""

    fill: Literal["blank", "repeated", "mirrored"] = "repeated"
    left: float = 0.0  # pixels of the aligned image that lie beyond the edge, at its middle
    right: float = 0.0
    top: float = 0.0
    bottom: float = 0.0


@dataclass(frozen=True)
class Shot:
    """One image of a `Person`: everything that may change from image to image."""

    seed: int  # background, strands, noise
    expression: Expression = field(default_factory=Expression)
    makeup: Makeup = field(default_factory=Makeup)
    accessories: Accessories = field(default_factory=Accessories)
    light: Light = field(default_factory=Light)
    camera: Camera = field(default_factory=Camera)
    finish: Finish = field(default_factory=Finish)
    background: Background = field(default_factory=Background)
    occluder: Occluder | None = None
    border: Border | None = None
