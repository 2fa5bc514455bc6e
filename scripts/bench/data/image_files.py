"""Images and label files of the size of CamVid's, drawn anew, for measuring how fast they are read."""

from pathlib import Path

from PIL import Image

from segkit.data.datasets.folder import Folder
from segkit.data.datasets.shapes import Shapes

SIZE = (360, 480)


def write_images(folder: Path, *, count: int, size: tuple[int, int] = SIZE) -> Folder:
    """A data set of JPEG images and PNG masks of `size` (H, W) below `folder`."""
    shapes = Shapes("val", size=list(size), val_size=count)
    for part in ("images", "masks"):
        (folder / part / "train").mkdir(parents=True)
    for index in range(count):
        sample = shapes[index]
        image = Image.fromarray(sample.image.permute(1, 2, 0).numpy())
        image.save(folder / "images" / "train" / f"{index:03d}.jpg", quality=92)
        Image.fromarray(sample.target.numpy()).save(folder / "masks" / "train" / f"{index:03d}.png")
    return Folder("train", root=str(folder), classes=list(shapes.class_names))
