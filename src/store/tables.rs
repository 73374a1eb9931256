//! Every table of the store, drawn.
//!
//! ```text
//! meta      key                 -> bytes        schema, uuid, when made, boot id, next serial, connection, generation
//! runtime   setting             -> text         the runtime configuration; absent until first opened
//! ids       ID                  -> kind, serial one ID space over containers and pods
//! names     name                -> serial       of the name's binding; one name space
//! objects   kind, serial        -> ID           what there is, oldest first; never needs decoding
//! rows      serial              -> Row          heads, bindings, edges, memberships (postcard)
//! docs      serial, Doc         -> bytes        documents, as they are served; the digest of a layer's record
//! needs     from, to            -> serial       of the edge: what a container depends on
//! needed    to, from            -> serial       of the edge: what depends on a container
//! members   pod, container      -> serial       of the membership
//! digests   kind, ID            -> serial       images and layers, each an ID space of its own
//! tags      image name          -> serial       of the name
//! tag-dirs  path                -> serial       of a directory of image names
//! tagged    image, name         -> ()           an image's names
//! places    image, position     -> serial       of a layer's place in an image
//! held      layer, image        -> serial       of the same
//! children  layer, layer        -> ()           the layers upon a layer
//! users     image, container    -> ()           the containers of an image
//! mounted   container           -> ()           those that were asked to be mounted, in this boot
//! items     object, key         -> serial       a caller's own files; their bytes lie beside the store
//! data      object              -> nanoseconds  when one of these came or went last; absent where none did
//! more      container           -> More (postcard)  further names, metadata, ID maps; absent where there are none
//! flags     container, name     -> serial       of the flag
//! infra     ID                  -> serial       of the container that carries its pod's ID; in objects, not in ids
//! exited    ID                  -> serial       what a container that is gone ended with
//! lists     List                -> nanoseconds  when a listing of the whole store changed last
//! requests  connection, unique  -> Done (postcard)  answers that may not have arrived, changes not yet told
//! ```

use redb::TableDefinition;

/// The schema that this program writes; newer ones are refused.
pub const SCHEMA: u64 = 4;

pub(super) type Key = [u8; 32];

pub(super) const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
pub(super) const RUNTIME: TableDefinition<&str, &str> = TableDefinition::new("runtime");
pub(super) const IDS: TableDefinition<&Key, (u8, u64)> = TableDefinition::new("ids");
pub(super) const NAMES: TableDefinition<&str, u64> = TableDefinition::new("names");
pub(super) const OBJECTS: TableDefinition<(u8, u64), &Key> = TableDefinition::new("objects");
pub(super) const ROWS: TableDefinition<u64, &[u8]> = TableDefinition::new("rows");
pub(super) const DOCS: TableDefinition<(u64, u8), &[u8]> = TableDefinition::new("docs");
pub(super) const NEEDS: TableDefinition<(u64, u64), u64> = TableDefinition::new("needs");
pub(super) const NEEDED: TableDefinition<(u64, u64), u64> = TableDefinition::new("needed");
pub(super) const MEMBERS: TableDefinition<(u64, u64), u64> = TableDefinition::new("members");
pub(super) const DIGESTS: TableDefinition<(u8, &Key), u64> = TableDefinition::new("digests");
pub(super) const TAGS: TableDefinition<&str, u64> = TableDefinition::new("tags");
pub(super) const TAG_DIRS: TableDefinition<&str, u64> = TableDefinition::new("tag-dirs");
pub(super) const TAGGED: TableDefinition<(u64, u64), ()> = TableDefinition::new("tagged");
pub(super) const PLACES: TableDefinition<(u64, u64), u64> = TableDefinition::new("places");
pub(super) const HELD: TableDefinition<(u64, u64), u64> = TableDefinition::new("held");
pub(super) const CHILDREN: TableDefinition<(u64, u64), ()> = TableDefinition::new("children");
pub(super) const USERS: TableDefinition<(u64, u64), ()> = TableDefinition::new("users");
pub(super) const MOUNTED: TableDefinition<u64, ()> = TableDefinition::new("mounted");
pub(super) const LISTS: TableDefinition<u8, u64> = TableDefinition::new("lists");
pub(super) const ITEMS: TableDefinition<(u64, &str), u64> = TableDefinition::new("items");
pub(super) const DATA: TableDefinition<u64, u64> = TableDefinition::new("data");
pub(super) const MORE: TableDefinition<u64, &[u8]> = TableDefinition::new("more");
pub(super) const FLAGS: TableDefinition<(u64, &str), u64> = TableDefinition::new("flags");
pub(super) const INFRA: TableDefinition<&Key, u64> = TableDefinition::new("infra");
pub(super) const EXITED: TableDefinition<&Key, u64> = TableDefinition::new("exited");
pub(super) const REQUESTS: TableDefinition<(u64, u64), &[u8]> = TableDefinition::new("requests");

/// Keys of `meta`; numbers are little-endian u64.
pub(super) mod meta {
    pub(crate) const SCHEMA: &str = "schema";
    pub(crate) const UUID: &str = "uuid";
    pub(crate) const MADE: &str = "made";
    pub(crate) const BOOT_ID: &str = "boot-id";
    pub(crate) const NEXT: &str = "next";
    pub(crate) const CONNECTION: &str = "connection";
    pub(crate) const GENERATION: &str = "generation";
}
