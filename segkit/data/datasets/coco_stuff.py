"""`coco_stuff`: things and stuff on the images of COCO 2017."""

from pathlib import Path
from typing import Literal

from segkit.data.files.label_table import IGNORE_INDEX, LabelTable
from segkit.data.files.paired_files import PairedFiles
from segkit.data.files.published import find_pairs, find_root
from segkit.registry import DATASETS
from segkit.types import Size

PARTS = {"train": "train2017", "val": "val2017"}
LABEL_FOLDERS = ("annotations", "stuffthingmaps")
#: The names of labels.txt in the order of its ids, 1 to 182; a label file holds the id less 1.
NAMES = tuple(
    """
person; bicycle; car; motorcycle; airplane; bus; train; truck; boat; traffic light; fire hydrant; street
sign; stop sign; parking meter; bench; bird; cat; dog; horse; sheep; cow; elephant; bear; zebra; giraffe;
hat; backpack; umbrella; shoe; eye glasses; handbag; tie; suitcase; frisbee; skis; snowboard; sports ball;
kite; baseball bat; baseball glove; skateboard; surfboard; tennis racket; bottle; plate; wine glass; cup;
fork; knife; spoon; bowl; banana; apple; sandwich; orange; broccoli; carrot; hot dog; pizza; donut; cake;
chair; couch; potted plant; bed; mirror; dining table; window; desk; toilet; door; tv; laptop; mouse;
remote; keyboard; cell phone; microwave; oven; toaster; sink; refrigerator; blender; book; clock; vase;
scissors; teddy bear; hair drier; toothbrush; hair brush; banner; blanket; branch; bridge; building-other;
bush; cabinet; cage; cardboard; carpet; ceiling-other; ceiling-tile; cloth; clothes; clouds; counter;
cupboard; curtain; desk-stuff; dirt; door-stuff; fence; floor-marble; floor-other; floor-stone;
floor-tile; floor-wood; flower; fog; food-other; fruit; furniture-other; grass; gravel; ground-other;
hill; house; leaves; light; mat; metal; mirror-stuff; moss; mountain; mud; napkin; net; paper; pavement;
pillow; plant-other; plastic; platform; playingfield; railing; railroad; river; road; rock; roof; rug;
salad; sand; sea; shelf; sky-other; skyscraper; snow; solid-other; stairs; stone; straw; structural-other;
table; tent; textile-other; towel; tree; vegetable; wall-brick; wall-concrete; wall-other; wall-panel;
wall-stone; wall-tile; wall-wood; water-other; waterdrops; window-blind; window-other; wood
""".replace("\n", " ")
    .strip()
    .split("; ")
)
#: Things that COCO has no outlines of; no label file holds them.
WITHOUT_LABELS = {
    *("street sign", "hat", "shoe", "eye glasses", "plate", "mirror", "window", "desk", "door", "blender"),
    "hair brush",
}
#: 80 things and 91 kinds of stuff.
CLASSES = tuple(name for name in NAMES if name not in WITHOUT_LABELS)
VALUES = {255: IGNORE_INDEX, **{NAMES.index(name): index for index, name in enumerate(CLASSES)}}


@DATASETS.register("coco_stuff")
class CocoStuff(PairedFiles):
    """COCO-Stuff, 171 classes of things and stuff: images/{train2017,val2017} and annotations/{train2017,val2017}.

    root      the folder that holds `images` and `annotations` (or `stuffthingmaps`), each with the files of COCO 2017
    channels  3 for colour images, 1 for greyscale; files are converted
    resize    [height, width] that every image is brought to, or null

    118287 train and 5000 val images. The labels are those of stuffthingmaps_trainval2017.zip: 0-181, of which the 11
    things without outlines do not occur and the rest become 0-170, and 255 for unlabelled, which is ignored. Source:
    https://github.com/nightrome/cocostuff. Licence: annotations CC BY 4.0, images under Flickr's terms of use. Caesar
    et al., "COCO-Stuff: Thing and Stuff Classes in Context" (CVPR 2018). The older 10K version is not read.

    Raises DataError for what is missing on disk.
    """

    def __init__(
        self,
        split: Literal["train", "val"],
        *,
        root: str,
        channels: Literal[1, 3] = 3,
        resize: Size | None = None,
    ):
        part = PARTS[split]
        folder = _find_label_folder(root, part)
        path = find_root("coco_stuff", root, [f"images/{part}", f"{folder}/{part}"])
        names, image_paths, mask_paths, notes = find_pairs(
            "coco_stuff", path / "images" / part, path / folder / part, image_end=".jpg", label_end=".png"
        )
        super().__init__(
            path,
            names=names,
            image_paths=image_paths,
            mask_paths=mask_paths,
            weight_paths=[path / "weights" / part / name for name in names],
            class_names=CLASSES,
            label_map=LabelTable("coco_stuff", values=VALUES),
            channels=channels,
            resize=resize,
            notes=notes,
        )


def _find_label_folder(root: str, part: str) -> str:
    """What the folder of the labels is called: as COCO-Stuff's own instructions say, unless it is the other."""
    base = Path(root).expanduser()
    return next((name for name in LABEL_FOLDERS if (base / name / part).is_dir()), LABEL_FOLDERS[0])
