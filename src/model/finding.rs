//! What can be wrong with a store, and the one form in which it is told.

use std::fmt;

/// The kinds of damage, as containers/storage has them where it has them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Trouble {
    /// A promise of the rows to one another.
    Structure,
    /// A directory of a layer, an image or a container that no record has.
    LayerUnaccounted,
    /// A layer that nothing needs.
    LayerUnreferenced,
    /// A layer whose directory is gone.
    LayerDataMissing,
    /// A layer whose files have not the size that was recorded.
    LayerIncorrectSize,
    /// A layer whose entries are not those that were recorded.
    LayerContentModified,
    /// A layer with a file that holds something else than what was recorded.
    LayerIncorrectDigest,
    /// A layer that a layer or container needs and that is not there.
    LayerMissing,
    /// A layer that an image needs and that is not there.
    ImageLayerMissing,
    /// A document of an image, or a file of a caller's own with it, that is gone.
    ImageDataMissing,
    /// A document of an image, or a file of a caller's own with it, that has not the size that was recorded.
    ImageDataIncorrectSize,
    /// A config of an image that has not the digest that is the image's ID.
    ImageDataModified,
    /// An image that a container needs and that is not there.
    ContainerImageMissing,
    /// A container whose own files are gone, or one of a caller's own with it.
    ContainerDataMissing,
    /// A file of a caller's own with a container that has not the size that was recorded.
    ContainerDataIncorrectSize,
}

impl Trouble {
    /// All kinds.
    pub const ALL: [Trouble; 15] = [
        Trouble::Structure,
        Trouble::LayerUnaccounted,
        Trouble::LayerUnreferenced,
        Trouble::LayerDataMissing,
        Trouble::LayerIncorrectSize,
        Trouble::LayerContentModified,
        Trouble::LayerIncorrectDigest,
        Trouble::LayerMissing,
        Trouble::ImageLayerMissing,
        Trouble::ImageDataMissing,
        Trouble::ImageDataIncorrectSize,
        Trouble::ImageDataModified,
        Trouble::ContainerImageMissing,
        Trouble::ContainerDataMissing,
        Trouble::ContainerDataIncorrectSize,
    ];

    /// The word that stands first in a finding.
    pub const fn word(self) -> &'static str {
        match self {
            Trouble::Structure => "structure",
            Trouble::LayerUnaccounted => "layer-unaccounted",
            Trouble::LayerUnreferenced => "layer-unreferenced",
            Trouble::LayerDataMissing => "layer-data-missing",
            Trouble::LayerIncorrectSize => "layer-incorrect-size",
            Trouble::LayerContentModified => "layer-content-modified",
            Trouble::LayerIncorrectDigest => "layer-incorrect-digest",
            Trouble::LayerMissing => "layer-missing",
            Trouble::ImageLayerMissing => "image-layer-missing",
            Trouble::ImageDataMissing => "image-data-missing",
            Trouble::ImageDataIncorrectSize => "image-data-incorrect-size",
            Trouble::ImageDataModified => "image-data-modified",
            Trouble::ContainerImageMissing => "container-image-missing",
            Trouble::ContainerDataMissing => "container-data-missing",
            Trouble::ContainerDataIncorrectSize => "container-data-incorrect-size",
        }
    }
}

/// One thing that is wrong, with what mends it. Shown as `KIND OBJECT: words`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding<F> {
    /// Of which kind it is.
    pub trouble: Trouble,
    /// Where: a path of the tree, or a table and its key.
    pub object: String,
    /// What is wrong there.
    pub words: String,
    /// What mends it.
    pub fix: F,
}

impl<F> Finding<F> {
    /// The same with another kind of fix.
    pub fn map<G>(self, fix: impl FnOnce(F) -> G) -> Finding<G> {
        Finding { trouble: self.trouble, object: self.object, words: self.words, fix: fix(self.fix) }
    }
}

impl<F> fmt::Display for Finding<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.trouble.word(), self.object, self.words)
    }
}
