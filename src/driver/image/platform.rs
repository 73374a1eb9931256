//! For which machine an image is.

use std::fmt;

use oci_spec::image::{Arch, Descriptor, Os, Platform as Described};

use super::error::ImageError;

/// `os/arch[/variant]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    os: Os,
    arch: Arch,
    variant: Option<String>,
}

impl Platform {
    /// Reads `os/arch[/variant]`, in the words of Go's GOOS and GOARCH.
    ///
    /// # Errors
    /// [`ImageError::PlatformText`].
    pub fn parse(text: &str) -> Result<Platform, ImageError> {
        let parts: Vec<&str> = text.split('/').collect();
        let (os, arch, variant) = match parts[..] {
            [os, arch] => (os, arch, None),
            [os, arch, variant] => (os, arch, Some(variant)),
            _ => return Err(ImageError::PlatformText(text.to_owned())),
        };
        if parts.contains(&"") {
            return Err(ImageError::PlatformText(text.to_owned()));
        }
        Ok(Platform { os: os.into(), arch: arch.into(), variant: variant.map(str::to_owned) })
    }

    /// The operating system, as GOOS.
    pub(super) fn os(&self) -> String {
        self.os.to_string()
    }

    /// The processor, as GOARCH.
    pub(super) fn arch(&self) -> String {
        self.arch.to_string()
    }

    /// The kind of processor, where it matters.
    pub(super) fn variant(&self) -> Option<&str> {
        self.variant.as_deref()
    }

    /// Whether this is the platform of an image for `os` and `arch`.
    pub(super) fn is(&self, os: &str, arch: &str, variant: Option<&str>) -> bool {
        self.matches(&Os::from(os), &Arch::from(arch), variant)
    }

    /// Of an index, the image for this platform; one that names no platform is taken if it is alone.
    pub(super) fn choose<'a>(&self, index: &[&'a Descriptor]) -> Result<&'a Descriptor, ImageError> {
        let images: Vec<&Descriptor> = index.iter().copied().filter(|entry| !is_attestation(entry)).collect();
        if let [only] = images[..]
            && only.platform().is_none()
        {
            return Ok(only);
        }
        let fits = |entry: &&Descriptor| entry.platform().as_ref().is_some_and(|described| self.fits(described));
        images.iter().copied().find(fits).ok_or_else(|| ImageError::Platform {
            wanted: self.to_string(),
            there: images.iter().filter_map(|entry| entry.platform().as_ref().map(words)).collect(),
        })
    }

    fn fits(&self, described: &Described) -> bool {
        self.matches(described.os(), described.architecture(), described.variant().as_deref())
    }

    fn matches(&self, os: &Os, arch: &Arch, variant: Option<&str>) -> bool {
        let variant_fits = self.variant.is_none() || self.variant.as_deref() == variant;
        self.os == *os && self.arch == *arch && variant_fits
    }
}

impl Default for Platform {
    /// This machine's.
    fn default() -> Platform {
        Platform { os: Os::default(), arch: Arch::default(), variant: None }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.arch)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

/// What buildkit says about how an image was made lies beside it in its index.
fn is_attestation(entry: &Descriptor) -> bool {
    entry.annotations().as_ref().is_some_and(|notes| notes.contains_key("vnd.docker.reference.type"))
}

fn words(described: &Described) -> String {
    let variant = described.variant().as_ref().map(|variant| format!("/{variant}")).unwrap_or_default();
    format!("{}/{}{variant}", described.os(), described.architecture())
}

#[cfg(test)]
mod tests {
    use super::Platform;
    use oci_spec::image::Descriptor;

    fn entry(digit: char, platform: &str) -> Descriptor {
        let digest = digit.to_string().repeat(64);
        let text = format!(r#"{{"mediaType": "m", "digest": "sha256:{digest}", "size": 1 {platform}}}"#);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn the_right_machine_is_chosen() {
        let arm = |variant: &str| {
            format!(r#", "platform": {{"os": "linux", "architecture": "arm", "variant": "{variant}"}}"#)
        };
        let entries = [
            entry('a', r#", "platform": {"os": "linux", "architecture": "amd64"}"#),
            entry('b', &arm("v6")),
            entry('c', &arm("v7")),
            entry('d', r#", "platform": {"os": "unknown", "architecture": "unknown"}"#),
        ];
        let index: Vec<&Descriptor> = entries.iter().collect();
        for (text, place) in [("linux/amd64", 0), ("linux/arm", 1), ("linux/arm/v7", 2)] {
            assert_eq!(Platform::parse(text).unwrap().choose(&index).unwrap(), index[place], "{text}");
        }
        let error = Platform::parse("linux/s390x").unwrap().choose(&index).unwrap_err();
        assert!(error.to_string().contains("linux/arm/v7"), "{error}");
    }

    #[test]
    fn a_lone_image_needs_no_platform() {
        let attestation = entry('b', r#", "annotations": {"vnd.docker.reference.type": "attestation-manifest"}"#);
        let image = entry('a', "");
        assert_eq!(Platform::default().choose(&[&attestation, &image]).unwrap(), &image);
    }

    #[test]
    fn only_platforms_are_platforms() {
        assert_eq!(Platform::parse("linux/arm/v7").unwrap().to_string(), "linux/arm/v7");
        for text in ["", "linux", "linux/", "/arm", "linux/arm/v7/x"] {
            assert!(Platform::parse(text).is_err(), "{text}");
        }
    }
}
