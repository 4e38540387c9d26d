"""Attribute schemas: attributes in groups, and the facial regions of each group.

`CELEBA` is the default. Other schemas are read from a YAML or JSON file with
`AttributeSchema.from_file`; heads, loss, metrics, exports and reports follow whichever is used.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from far_keras.errors import FarError, SchemaError

__all__ = ["CELEBA", "MISSING", "REGIONS", "SENSITIVE", "AttributeSchema", "Group"]

MISSING = -1
"""The label of an attribute that is not known; losses and metrics leave it out."""

REGIONS = ("mouth", "ear", "lower_face", "cheeks", "nose", "eyes", "hair", "object")
"""The facial regions that masks are made for, in the order of their bits in mask files.

`eyes` includes the brows, `ear` and `hair` may be empty, `object` is the whole head.
"""

SENSITIVE = (
    "Attractive",
    "Big_Lips",
    "Big_Nose",
    "Chubby",
    "Double_Chin",
    "Male",
    "Narrow_Eyes",
    "Pale_Skin",
    "Young",
)
"""Attributes that recognition omits unless they are requested.

They concern protected characteristics (sex, age, descent) or judge looks and weight. A schema
without a list of its own takes those of these names that it has.
"""


@dataclass(frozen=True)
class Group:
    """Attributes that are predicted from the same facial regions.

    Args:
        name: Unique name, such as ``"Lower Face"``.
        attributes: Names of the attributes of this group, at least one.
        regions: The `REGIONS` whose union is the group's mask, at least one.
    """

    name: str
    attributes: tuple[str, ...]
    regions: tuple[str, ...]


@dataclass(frozen=True)
class AttributeSchema:
    """An immutable, validated set of attributes in groups.

    Args:
        name: What the schema is called, such as ``"celeba"``.
        attributes: All attribute names, in the order of every label and logit vector.
        groups: The groups, in the order of the mask channels. Each attribute is in exactly one.
        sensitive: Attributes that recognition leaves out unless it is asked for them; None takes
            those of `SENSITIVE` that the schema has. Training and evaluation take no notice.

    Raises:
        SchemaError: Two attributes or groups of one name, an attribute in no group or in two,
            an empty group, a group that names an unknown attribute or region, a sensitive
            attribute that is none of the attributes.

    Example:
        >>> CELEBA.num_attributes, CELEBA.num_groups
        (40, 8)
        >>> CELEBA.group_of("Smiling").name
        'Mouth'
    """

    name: str
    attributes: tuple[str, ...]
    groups: tuple[Group, ...]
    sensitive: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not self.attributes:
            raise SchemaError(f"schema {self.name!r}: expected at least one attribute, got none")
        if not self.groups:
            raise SchemaError(f"schema {self.name!r}: expected at least one group, got none")
        for kind, names in (
            ("attribute", self.attributes),
            ("group", [group.name for group in self.groups]),
        ):
            for name in names:
                if not isinstance(name, str) or not name.strip():
                    raise SchemaError(
                        f"schema {self.name!r}: every {kind} name must be non-empty text. "
                        f"Received: {name!r}"
                    )
            if twice := _repeated(names):
                raise SchemaError(
                    f"schema {self.name!r}: {kind} names must be unique. Given twice: {twice}"
                )
        for group in self.groups:
            self._check_group(group)
        membership = Counter(name for group in self.groups for name in group.attributes)
        if orphans := [name for name in self.attributes if not membership[name]]:
            raise SchemaError(
                f"schema {self.name!r}: every attribute must be in a group. In none: {orphans}"
            )
        if shared := [name for name, count in membership.items() if count > 1]:
            raise SchemaError(
                f"schema {self.name!r}: every attribute must be in one group only. "
                f"In more than one: {shared}"
            )
        if self.sensitive is None:
            names = tuple(name for name in self.attributes if name in SENSITIVE)
            object.__setattr__(self, "sensitive", names)
        elif unknown := [name for name in self.sensitive if name not in self.attributes]:
            raise SchemaError(
                f"schema {self.name!r}: 'sensitive' names unknown attributes {unknown}"
            )

    def _check_group(self, group: Group) -> None:
        where = f"schema {self.name!r}, group {group.name!r}"
        if not group.attributes:
            raise SchemaError(f"{where}: expected at least one attribute, got none")
        if unknown := [name for name in group.attributes if name not in self.attributes]:
            raise SchemaError(
                f"{where}: unknown attributes {unknown}; list them under 'attributes' too"
            )
        if not group.regions:
            raise SchemaError(f"{where}: expected at least one region of {list(REGIONS)}")
        if unknown := [name for name in group.regions if name not in REGIONS]:
            raise SchemaError(f"{where}: unknown regions {unknown}; known are {list(REGIONS)}")

    @property
    def num_attributes(self) -> int:
        """Length of every label and logit vector."""
        return len(self.attributes)

    @property
    def num_groups(self) -> int:
        """Number of mask channels."""
        return len(self.groups)

    @property
    def group_names(self) -> tuple[str, ...]:
        """Names of the groups in the order of the mask channels."""
        return tuple(group.name for group in self.groups)

    def index(self, attribute: str) -> int:
        """Position of `attribute` in label and logit vectors; SchemaError if it has none."""
        try:
            return self.attributes.index(attribute)
        except ValueError:
            raise SchemaError(
                f"schema {self.name!r} has no attribute {attribute!r}; it has {self.attributes}"
            ) from None

    def group_of(self, attribute: str) -> Group:
        """The group of `attribute`; SchemaError if the schema does not have it."""
        self.index(attribute)
        return next(group for group in self.groups if attribute in group.attributes)

    def difference(self, other: AttributeSchema) -> str:
        """The difference to `other` in words, for a message; empty if there is none."""
        parts = []
        if missing := [a for a in self.attributes if a not in other.attributes]:
            parts.append(f"missing attributes {missing}")
        if extra := [a for a in other.attributes if a not in self.attributes]:
            parts.append(f"additional attributes {extra}")
        if not parts and self.attributes != other.attributes:
            parts.append("the same attributes in another order")
        if self.groups != other.groups:
            ours = {group.name: group for group in self.groups}
            theirs = {group.name: group for group in other.groups}
            changed = sorted(n for n in ours | theirs if ours.get(n) != theirs.get(n))
            parts.append(f"other groups {changed}" if changed else "groups in another order")
        return "; ".join(parts)

    def check_equal(self, other: AttributeSchema, what: str, error: type[FarError]) -> None:
        """Refuses a model or data set that predicts or labels other attributes.

        Args:
            other: The schema of `what`.
            what: A path or a description, such as ``"models/mgmtn"``, for the message.
            error: Class of the exception to raise.

        Raises:
            FarError: The two schemas differ in attributes, groups or their order.
        """
        if difference := self.difference(other):
            raise error(
                f"{what}: expected the attributes of the schema {self.name!r}. Received: the "
                f"schema {other.name!r}: {difference}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON or YAML; `from_dict` reads it back."""
        return {
            "name": self.name,
            "attributes": list(self.attributes),
            "groups": [
                {
                    "name": group.name,
                    "regions": list(group.regions),
                    "attributes": list(group.attributes),
                }
                for group in self.groups
            ],
            "sensitive": list(self.sensitive or ()),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], source: str = "schema") -> AttributeSchema:
        """Builds a schema from plain data.

        Args:
            data: ``{"name", "attributes", "groups": [{"name", "regions", "attributes"}]}``.
                ``attributes`` defaults to the groups' attributes in their order; a group's
                ``regions`` default to the region that bears its name. ``sensitive`` may be given
                too, an empty list for none.
            source: What to call the data in error messages.
        """
        if not isinstance(data, Mapping) or not isinstance(data.get("groups"), Sequence):
            raise SchemaError(
                f"{source}: expected a mapping with the keys 'name', 'groups' and optionally "
                f"'attributes' and 'sensitive'. Received: {_shorten(data)}"
            )
        if unknown := sorted(set(data) - {"name", "attributes", "groups", "sensitive"}, key=str):
            raise SchemaError(f"{source}: unknown keys {unknown}")
        groups = tuple(_read_group(entry, source) for entry in data["groups"])
        attributes = data.get("attributes")
        if attributes is None:
            attributes = [name for group in groups for name in group.attributes]
        sensitive = data.get("sensitive")
        if sensitive is not None:
            sensitive = _as_names(sensitive, f"{source}: 'sensitive'")
        return cls(
            name=str(data.get("name", source)),
            attributes=_as_names(attributes, f"{source}: 'attributes'"),
            groups=groups,
            sensitive=sensitive,
        )

    @classmethod
    def resolve(cls, source: AttributeSchema | str | Path | None) -> AttributeSchema:
        """The schema that a user's argument means: None is `CELEBA`, a path is read.

        Commands and public functions call this once and pass the schema on.

        Raises:
            SchemaError: See `from_file`.
        """
        if isinstance(source, AttributeSchema):
            return source
        return CELEBA if source is None else cls.from_file(source)

    @classmethod
    def from_file(cls, path: str | Path) -> AttributeSchema:
        """Reads a schema from a ``.json``, ``.yaml`` or ``.yml`` file; see `from_dict`.

        Raises:
            SchemaError: The file is missing, is not valid JSON/YAML, or describes no valid schema.
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SchemaError(f"{path}: cannot read the schema file: {error}") from error
        if path.suffix == ".json":
            try:
                data = json.loads(text)
            except ValueError as error:
                raise SchemaError(f"{path}: not valid JSON: {error}") from error
        elif path.suffix in (".yaml", ".yml"):
            import yaml

            try:
                data = yaml.safe_load(text)
            except yaml.YAMLError as error:
                raise SchemaError(f"{path}: not valid YAML: {error}") from error
        else:
            raise SchemaError(f"{path}: expected a .json, .yaml or .yml file")
        return cls.from_dict(data, source=str(path))


def _read_group(entry: Any, source: str) -> Group:
    if not isinstance(entry, Mapping) or "name" not in entry or "attributes" not in entry:
        raise SchemaError(
            f"{source}: every group needs the keys 'name' and 'attributes'. "
            f"Received: {_shorten(entry)}"
        )
    name = entry["name"]
    where = f"{source}: group {name!r}"
    if unknown := sorted(set(entry) - {"name", "regions", "attributes"}, key=str):
        raise SchemaError(f"{where}: unknown keys {unknown}")
    regions = entry.get("regions", [str(name).lower().replace(" ", "_")])
    return Group(
        name=name,
        attributes=_as_names(entry["attributes"], f"{where}: 'attributes'"),
        regions=_as_names(regions, f"{where}: 'regions'"),
    )


def _as_names(value: Any, where: str) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise SchemaError(f"{where}: expected a list of names. Received: {_shorten(value)}")
    return tuple(value)


def _repeated(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


CELEBA = AttributeSchema(
    name="celeba",
    # The order of the columns in CelebA's list_attr_celeba.txt.
    attributes=tuple(
        """5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose
        Black_Hair Blond_Hair Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee
        Gray_Hair Heavy_Makeup High_Cheekbones Male Mouth_Slightly_Open Mustache Narrow_Eyes
        No_Beard Oval_Face Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks Sideburns Smiling
        Straight_Hair Wavy_Hair Wearing_Earrings Wearing_Hat Wearing_Lipstick Wearing_Necklace
        Wearing_Necktie Young""".split()
    ),
    # The paper (arXiv 2601.01408) names the groups but not their members; the table is our choice.
    groups=tuple(
        Group(name, tuple(attributes.split()), (region,))
        for name, region, attributes in (
            ("Mouth", "mouth", "Big_Lips Mouth_Slightly_Open Smiling Wearing_Lipstick"),
            ("Ear", "ear", "Wearing_Earrings"),
            (
                "Lower Face",
                "lower_face",
                "5_o_Clock_Shadow Double_Chin Goatee Mustache No_Beard Sideburns "
                "Wearing_Necklace Wearing_Necktie",
            ),
            ("Cheeks", "cheeks", "High_Cheekbones Rosy_Cheeks"),
            ("Nose", "nose", "Big_Nose Pointy_Nose"),
            (
                "Eyes",
                "eyes",
                "Arched_Eyebrows Bags_Under_Eyes Bushy_Eyebrows Eyeglasses Narrow_Eyes",
            ),
            (
                "Hair",
                "hair",
                "Bald Bangs Black_Hair Blond_Hair Brown_Hair Gray_Hair Receding_Hairline "
                "Straight_Hair Wavy_Hair Wearing_Hat",
            ),
            (
                "Object",
                "object",
                "Attractive Blurry Chubby Heavy_Makeup Male Oval_Face Pale_Skin Young",
            ),
        )
    ),
)
"""CelebA's 40 attributes in the paper's 8 groups: the default schema."""
