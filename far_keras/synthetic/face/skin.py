"""Skin: its colour from melanin and blood, lips, make-up, stubble, age, relief."""

from __future__ import annotations

import numpy as np

from far_keras.synthetic.face.anatomy import beard_zone, is_neck, scalp_density, spot
from far_keras.synthetic.head.morphs import old_fraction
from far_keras.synthetic.head.wrinkles import detail_map
from far_keras.synthetic.parameters import Person
from far_keras.synthetic.people.appearance import lip_color, skin_tone
from far_keras.synthetic.stage.lighting import Surface, tilt_normals
from far_keras.synthetic.stage.noise import noise_texture, sample_noise
from far_keras.synthetic.stage.scene import Fragments, Scene

__all__ = ["paint_skin"]

BLOOD = np.array([0.03, 0.20, 0.18], np.float32)  # what blood under the skin takes from the light
SEAM = 6.617  # height on the rest head where the lips meet
STUBBLE = np.array([0.03, 0.035, 0.04], np.float32)


def _blend(albedo: np.ndarray, color: np.ndarray, amount: np.ndarray) -> None:
    """Moves albedo (F, 3) towards a colour by amount (F,), in place."""
    albedo += amount[:, None] * (color - albedo)


def _noises(person: Person, rest: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cloudy, mottled and fine noise (F,) that stays with the person's skin."""
    shift = (person.face.variation_seed % 997) / 997
    u = np.arctan2(rest[:, 0], rest[:, 2] - 0.2).astype(np.float32) * 0.8 + shift
    v = rest[:, 1] - 0.3 * rest[:, 2]
    clouds = sample_noise(noise_texture(1.6, 1), u * 0.35, v * 0.35)
    mottles = sample_noise(noise_texture(0.8, 2), u * 0.7, v * 0.7)
    fine = sample_noise(noise_texture(0.3, 3), u * 1.3, v * 1.3)
    return clouds, mottles, fine


def _blood(person: Person, rest: np.ndarray, ears: np.ndarray) -> np.ndarray:
    """Where a face is red: cheeks, nose, ears, chin, eyelids; (F,) about 0 to 1.5."""
    cheeks = spot(rest, 0.42, 6.95, 0.20, 0.17)
    nose = spot(rest, 0.0, 6.92, 0.15, 0.12, mirrored=False)
    lids = spot(rest, 0.31, 7.30, 0.19, 0.09)
    chin = spot(rest, 0.0, 6.38, 0.14, 0.1, mirrored=False)
    amount = 0.45 * cheeks + 0.55 * nose + 0.45 * ears + 0.45 * lids + 0.2 * chin
    return amount * (0.45 + 1.1 * person.skin_redness)


def _make_up(scene: Scene, albedo: np.ndarray, rest: np.ndarray) -> None:
    makeup = scene.shot.makeup
    if makeup.contour:
        hollow = spot(rest, 0.52, 6.78, 0.13, 0.10) + spot(rest, 0.10, 7.05, 0.025, 0.2)
        light = spot(rest, 0.44, 7.08, 0.10, 0.045) + spot(rest, 0, 7.1, 0.03, 0.2, mirrored=False)
        change = makeup.contour * (0.25 * light - 0.22 * np.clip(hollow, 0, 1))
        albedo *= 1 + change[:, None] * np.array([0.75, 1.0, 1.0])
    if makeup.blush:
        cheeks = spot(rest, 0.47, 6.98, 0.17, 0.12)
        _blend(albedo, albedo * np.array([1.0, 0.52, 0.55]), 0.95 * makeup.blush * cheeks)
    if makeup.eyeshadow:
        high = 0.05 + 0.03 * makeup.eyeshadow * (1 + makeup.wing)
        lid = np.clip(1.25 * spot(rest, 0.33, 7.365, 0.18, high), 0, 1) * (rest[:, 1] > 7.27)
        _blend(albedo, np.array(makeup.eyeshadow_color), 0.75 * makeup.eyeshadow * lid)
    # The roots of dense lashes draw a line too.
    bare = 0.68 - 0.48 * scene.person.face.masculinity
    liner = max(makeup.eyeliner, 0.5 * makeup.lashes, bare)
    if liner > 0.01:
        x = np.abs(rest[:, 0])
        upper = np.interp(x, (0.17, 0.24, 0.33, 0.42, 0.50), (7.275, 7.325, 7.345, 7.325, 7.29))
        upper += makeup.wing * np.clip((x - 0.44) / 0.16, 0, 1) * 0.11
        thick = 0.012 + 0.009 * makeup.eyeliner
        line = np.exp(-(((rest[:, 1] - upper) / thick) ** 2))
        line *= (x > 0.17) * (x < 0.52 + 0.09 * makeup.wing)
        lower = np.interp(x, (0.2, 0.33, 0.48), (7.245, 7.20, 7.25))
        below = np.exp(-(((rest[:, 1] - lower) / 0.013) ** 2)) * (x > 0.22) * (x < 0.5)
        drawn = np.maximum(liner * line, 0.6 * np.clip(makeup.eyeliner - 0.4, 0, 1) * below)
        _blend(albedo, np.full(3, 0.01), 0.9 * drawn * (rest[:, 2] > 1.0))


def _facial_contrast(person: Person, albedo: np.ndarray, rest: np.ndarray) -> None:
    """Women's eyes are darker against their skin than men's (Russell, Perception 38, 2009).

    A man's upper lip is darker than the skin around it even when shaved, a woman's is not; his
    cheeks above the beard's edge are lightest.
    """
    m = person.face.masculinity
    lids = spot(rest, 0.31, 7.30, 0.2, 0.1)
    over_lip = spot(rest, 0.0, 6.80, 0.15 + 0.1 * m, 0.05 + 0.05 * m, mirrored=False)
    cheeks = spot(rest, 0.42, 6.85, 0.16, 0.16)
    albedo *= 1 - ((0.50 - 0.40 * m) * lids)[:, None]
    albedo *= 1 + ((0.38 - 0.88 * m) * over_lip + 0.12 * m * cheeks)[:, None]


def _creases(person: Person, albedo: np.ndarray, rest: np.ndarray) -> None:
    """The fold of the upper lid, shallow in eyes of Asian form."""
    x = np.abs(rest[:, 0])
    near = (x > 0.13) & (x < 0.55) & (rest[:, 2] > 1.0)
    fold = np.interp(x, (0.17, 0.24, 0.33, 0.42, 0.52), (7.30, 7.362, 7.392, 7.375, 7.315))
    line = np.exp(-(((rest[:, 1] - fold) / 0.014) ** 2)) * near
    line *= np.clip((x - 0.15) / 0.06, 0, 1) * np.clip((0.54 - x) / 0.08, 0, 1)
    depth = 0.42 * (1 - 0.7 * person.face.ancestry[2])
    albedo *= 1 - (depth * line)[:, None] * np.array([0.75, 1.0, 1.0], np.float32)


def _stubble(person: Person, albedo: np.ndarray, rest: np.ndarray, fine: np.ndarray) -> None:
    """The shade of shaved or short beard hair under the skin."""
    beard = person.beard
    shaven = 0.3 * person.face.masculinity if person.male else 0.0
    strength = shaven + (0.62 - 0.6 * shaven) * beard.shadow
    if strength <= 0:
        return
    hairs = strength * beard_zone(rest) * np.clip(0.8 + 0.35 * fine, 0, 1.4)
    color = STUBBLE + 0.25 * np.array(beard.color, np.float32) + 0.12 * albedo.mean(0)
    _blend(albedo, color.astype(np.float32), np.clip(hairs, 0, 0.85))


def _spots(person: Person, albedo: np.ndarray, rest: np.ndarray, mottles: np.ndarray) -> None:
    """Red blemishes, and the darker skin over the upper lip that many women have too."""
    skin = person.skin
    if skin.mouth_shade:
        over = spot(rest, 0.13, 6.775, 0.13, 0.05) + 0.6 * spot(rest, 0.31, 6.63, 0.07, 0.07)
        shade = 0.34 * skin.mouth_shade * np.clip(over, 0, 1)
        albedo *= 1 - shade[:, None] * np.array([0.75, 0.95, 1.0], np.float32)
    if skin.blemishes:
        red = np.clip(mottles - 1.1, 0, 0.8) * skin.blemishes
        albedo *= 1 - red[:, None] * np.array([0.05, 0.38, 0.34], np.float32)


def _lips(
    scene: Scene, surface: Surface, rest: np.ndarray, lips: np.ndarray, tone: np.ndarray
) -> None:
    makeup, old = scene.shot.makeup, old_fraction(scene.person.age)
    natural = lip_color(tone, scene.person.skin.lip_depth)
    strength = 0.85 - 0.3 * scene.person.face.masculinity * min(old, 1.0)
    _blend(surface.albedo, natural, np.clip(lips * 1.2, 0, 1) * strength)
    surface.gloss += 0.06 * lips
    surface.sharpness += 22 * lips
    if makeup.lipstick:
        color = np.array(makeup.lipstick_color)
        _blend(surface.albedo, color, np.clip(lips * 1.3, 0, 1) * 0.95 * makeup.lipstick)
        surface.gloss += 0.30 * makeup.lip_gloss * makeup.lipstick * lips
        surface.sharpness += 20 * makeup.lip_gloss * lips
    # The upper lip is darker; where the lips meet, both are.
    above = np.clip((rest[:, 1] - SEAM) / 0.03, 0, 1)
    seam = np.exp(-(((rest[:, 1] - SEAM) / 0.014) ** 2))
    dark = np.clip(lips * (0.12 * above + 0.45 * seam), 0, 1)
    surface.albedo *= 1 - dark[:, None] * np.array([0.8, 1.0, 1.0], np.float32)


def _openings(surface: Surface, fragments: Fragments) -> None:
    """Nostrils, ear holes and the inside of the mouth are dark."""
    rest = fragments.rest
    nostril = spot(rest, 0.095, 6.848, 0.055, 0.026) * (rest[:, 2] > 1.15)
    ear = spot(rest, 0.755, 7.03, 0.03, 0.05)
    dark = np.clip(0.35 * nostril + 0.6 * ear, 0, 0.95)
    surface.albedo *= (1 - dark)[:, None]
    surface.gloss *= 1 - dark
    inside = np.clip(1.5 * fragments.mask("inside_mouth"), 0, 1)
    depth = np.clip((rest[:, 2] - 1.0) / 0.5, 0.05, 1)[:, None]
    _blend(surface.albedo, np.array([0.22, 0.045, 0.04]) * depth, inside)
    surface.gloss *= 1 - 0.8 * inside


def paint_skin(scene: Scene, fragments: Fragments) -> Surface:
    """Colour, gloss and relief of the F fragments that are skin (`MeshMaterial.SKIN`)."""
    person, rest = scene.person, fragments.rest
    old = old_fraction(person.age)
    makeup = scene.shot.makeup
    surface = Surface.matt(fragments.normal)
    tone = skin_tone(person.melanin, person.skin_redness)
    clouds, mottles, fine = _noises(person, rest)
    rough = (0.6 + 0.4 * person.face.masculinity + 1.6 * old) * (1 - 0.7 * makeup.foundation)
    shade = 1 + rough * (0.022 * clouds + 0.030 * mottles + 0.030 * fine)
    # Old skin is a little lighter and yellower.
    tone = tone * np.array([1 + 0.04 * old, 1 + 0.03 * old, 1.0], np.float32)
    surface.albedo = (tone * shade[:, None]).astype(np.float32)
    ears = fragments.mask("ears")
    red = _blood(person, rest, ears) + rough * 0.10 * np.clip(mottles, -1, 2)
    red *= 1 - 0.5 * makeup.foundation
    surface.albedo *= 1 - np.clip(red, 0, 2)[:, None] * BLOOD
    # Hollows under the eyes.
    hollow = 0.16 + 0.30 * old + 0.55 * person.face.eye_bags
    under = spot(rest, 0.29, 7.145, 0.13, 0.05) * hollow * (1 - 0.6 * makeup.foundation)
    surface.albedo *= 1 - np.clip(under, 0, 1)[:, None] * np.array([0.45, 0.62, 0.52], np.float32)
    relief = detail_map(person, scene.shot.expression).at(rest)
    grooves = np.clip(-relief[0] * 45, 0, 0.6)
    surface.albedo *= 1 - grooves[:, None] * np.array([0.75, 1.0, 1.0], np.float32)
    pigment = np.clip(relief[3] * (1 - 0.6 * makeup.foundation), 0, 0.85)
    surface.albedo *= 1 - pigment[:, None] * np.array([0.5, 0.72, 0.85], np.float32)
    oily = spot(rest, 0.0, 7.7, 0.4, 0.25, mirrored=False) + spot(rest, 0.0, 7.0, 0.09, 0.2)
    shine = (0.3 + 1.7 * person.skin.shine) * (1 - 0.35 * old)
    surface.gloss += (0.055 + 0.06 * oily) * shine * (1 - 0.3 * is_neck(rest))
    surface.gloss *= np.clip(1 + 0.12 * mottles, 0.3, 1.8)
    surface.sharpness += 4 * oily
    surface.scatter += 1.0
    _spots(person, surface.albedo, rest, mottles)
    _stubble(person, surface.albedo, rest, fine)
    scalp = scalp_density(rest, person.hair, person.male) * (ears < 0.3)
    hair = np.array(person.hair.color, np.float32)
    _blend(surface.albedo, 0.25 * tone + 0.35 * hair, (0.85 * scalp).astype(np.float32))
    surface.gloss *= (1 - 0.8 * scalp).astype(np.float32)
    _facial_contrast(person, surface.albedo, rest)
    _creases(person, surface.albedo, rest)
    _make_up(scene, surface.albedo, rest)
    _lips(scene, surface, rest, fragments.mask("lips"), tone)
    # Wrinkles and pores tilt the normals.
    coarse = 0.5 + 0.5 * person.face.masculinity + 1.8 * old
    pores = (0.012 + 0.04 * person.skin.pores) * coarse * (1 - 0.6 * makeup.foundation)
    across, upward = -relief[1] + pores * fine, -relief[2] + pores * np.roll(fine, 3)
    tilt_normals(surface.normal, across, upward, scene.head.pose.rotation)
    _openings(surface, fragments)
    for name in ("albedo", "normal", "gloss", "sharpness"):
        setattr(surface, name, getattr(surface, name).astype(np.float32))
    return surface
