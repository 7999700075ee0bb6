//! What a disk holds, as strictly as POSIX lets one read it.
//!
//! What was written to a file is sure to be there only once that file was synced, and what was done to a name (made,
//! given to another file, removed) only once its folder was. Until then each write and each name is kept or lost for
//! itself, in any order, and a write may be kept in part.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::{Component, Path},
    time::SystemTime,
};

use bytes::Bytes;

use crate::{
    random::Random,
    record::{Event, Handle},
};

/// Which file or folder, whatever its names.
pub(crate) type Node = usize;

const ROOT: Node = 0;

#[derive(Clone)]
enum Inode {
    File(FileNode),
    Folder(FolderNode),
}

#[derive(Clone, Default)]
struct FileNode {
    durable: Vec<u8>,
    /// How often its durable content changed.
    version: u64,
    /// How long it is for those who read it while the machine runs.
    length: usize,
    pending: Vec<Write>,
    /// When its durable content was written, by which a store knows it again; `None` if that isn't known.
    modified: Option<SystemTime>,
}

#[derive(Clone)]
enum Write {
    At(usize, Bytes),
    Cut(usize),
}

#[derive(Clone, Default)]
struct FolderNode {
    durable: BTreeMap<String, Node>,
    /// As those see it who look while the machine runs.
    live: BTreeMap<String, Node>,
    pending: Vec<Naming>,
}

#[derive(Clone)]
enum Naming {
    Name(String, Node),
    Unname(String),
    /// A name that is changed within a folder is changed at once.
    Rename(String, String, Node),
}

/// A disk under a folder, from an empty one on.
#[derive(Clone)]
pub(crate) struct Disk {
    inodes: Vec<Inode>,
    open: HashMap<Handle, Node>,
}

/// A file of an image.
pub(crate) struct Content<'a> {
    pub(crate) bytes: std::borrow::Cow<'a, [u8]>,
    /// Names content that is the same in other images.
    pub(crate) same: Option<(Node, u64)>,
    /// The time that the file has.
    pub(crate) modified: Option<SystemTime>,
}

/// How much of what wasn't synced an image keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsynced {
    /// Nothing.
    Lost,
    /// All, as if the machine had gone on.
    Kept,
    /// Each name and each write by a throw of dice, and a write in part.
    Torn,
}

impl Disk {
    pub(crate) fn new() -> Disk {
        Disk { inodes: vec![Inode::Folder(FolderNode::default())], open: HashMap::new() }
    }

    /// What lies in a folder, except in `apart`, all of it durable.
    pub(crate) fn load(folder: &Path, apart: &Path) -> io::Result<Disk> {
        let mut disk = Disk::new();
        let mut left = vec![(folder.to_owned(), ROOT)];
        while let Some((path, node)) = left.pop() {
            for entry in fs::read_dir(&path)? {
                let entry = entry?;
                let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
                if path == apart {
                    continue;
                }
                let below = disk.inodes.len();
                if entry.file_type()?.is_dir() {
                    disk.inodes.push(Inode::Folder(FolderNode::default()));
                    left.push((path, below));
                } else {
                    let durable = fs::read(&path)?;
                    let (length, modified) = (durable.len(), Some(entry.metadata()?.modified()?));
                    disk.inodes.push(Inode::File(FileNode {
                        durable,
                        length,
                        modified,
                        ..FileNode::default()
                    }));
                }
                let folder = disk.folder(node);
                folder.durable.insert(name.clone(), below);
                folder.live.insert(name, below);
            }
        }
        Ok(disk)
    }

    /// Does what was done. Paths are below the folder that this disk is under.
    pub(crate) fn apply(&mut self, event: &Event) {
        match event {
            Event::Create { path, handle } => {
                let node = match self.find(path) {
                    Some(node) => {
                        let file = self.file(node);
                        file.length = 0;
                        file.pending.push(Write::Cut(0));
                        node
                    }
                    None => self.add(path, Inode::File(FileNode::default())),
                };
                self.open.insert(*handle, node);
            }
            Event::Append { path, handle, length } => {
                let node = self.find(path).expect("only a file that is there was opened to append");
                let file = self.file(node);
                if file.length != *length {
                    file.length = *length;
                    file.pending.push(Write::Cut(*length));
                    file.sync(None);
                }
                self.open.insert(*handle, node);
            }
            Event::Write { handle, bytes } => {
                let file = self.file(self.open[handle]);
                file.pending.push(Write::At(file.length, bytes.clone()));
                file.length += bytes.len();
            }
            Event::SyncFile { handle, modified } => self.file(self.open[handle]).sync(*modified),
            Event::Rename { from, to } => self.rename(from, to),
            Event::Remove { path } => {
                if let Some(node) = self.find(path) {
                    self.remove_below(node);
                    self.name(path, None);
                }
            }
            Event::CreateFolder { path } => {
                let above: Vec<&Path> = path.ancestors().collect();
                for folder in above.into_iter().rev().filter(|path| !path.as_os_str().is_empty()) {
                    if self.find(folder).is_none() {
                        self.add(folder, Inode::Folder(FolderNode::default()));
                    }
                }
            }
            Event::SyncFolder { path } => {
                let node = self.find(path).expect("only a folder that is there was synced");
                let folder = self.folder(node);
                folder.durable.clone_from(&folder.live);
                folder.pending.clear();
            }
            Event::Mark(_) => {}
        }
    }

    /// Walks over an image: `each` gets the path of every folder, with `None`, and of every file, a folder before what
    /// is in it.
    pub(crate) fn image<E>(
        &self,
        unsynced: Unsynced,
        random: &mut Random,
        each: &mut impl FnMut(&Path, Option<&Content<'_>>) -> Result<(), E>,
    ) -> Result<(), E> {
        // How much is lost of a torn image is thrown first, so that some lose nearly nothing and some nearly all.
        let (lost, of) = (random.below(5) + 1, 6);
        let mut keep = |random: &mut Random| match unsynced {
            Unsynced::Lost => false,
            Unsynced::Kept => true,
            Unsynced::Torn => random.below(of) >= lost,
        };
        let mut left = vec![(std::path::PathBuf::new(), ROOT)];
        while let Some((path, node)) = left.pop() {
            match &self.inodes[node] {
                Inode::File(file) => {
                    let content = file.content(node, unsynced, random, &mut keep);
                    each(&path, Some(&content))?;
                }
                Inode::Folder(folder) => {
                    if node != ROOT {
                        each(&path, None)?;
                    }
                    let names = folder.names(random, &mut keep);
                    left.extend(names.into_iter().map(|(name, node)| (path.join(name), node)));
                }
            }
        }
        Ok(())
    }

    fn rename(&mut self, from: &Path, to: &Path) {
        let node = self.find(from).expect("only what is there was renamed");
        if from.parent() == to.parent() {
            let folder = self.parent(from);
            folder.live.remove(&name_of(from));
            folder.live.insert(name_of(to), node);
            folder.pending.push(Naming::Rename(name_of(from), name_of(to), node));
        } else {
            self.name(from, None);
            self.name(to, Some(node));
        }
    }

    /// Removes the names below a folder, as whoever removes a folder has to.
    fn remove_below(&mut self, node: Node) {
        let Inode::Folder(folder) = &mut self.inodes[node] else { return };
        let below = std::mem::take(&mut folder.live);
        folder.pending.extend(below.keys().cloned().map(Naming::Unname));
        for node in below.into_values() {
            self.remove_below(node);
        }
    }

    fn add(&mut self, path: &Path, inode: Inode) -> Node {
        let node = self.inodes.len();
        self.inodes.push(inode);
        self.name(path, Some(node));
        node
    }

    /// Gives a name to a file or folder, or to nothing any more.
    fn name(&mut self, path: &Path, node: Option<Node>) {
        let (folder, name) = (self.parent(path), name_of(path));
        if let Some(node) = node {
            folder.live.insert(name.clone(), node);
            folder.pending.push(Naming::Name(name, node));
        } else {
            folder.live.remove(&name);
            folder.pending.push(Naming::Unname(name));
        }
    }

    /// What a path stands for while the machine runs.
    fn find(&self, path: &Path) -> Option<Node> {
        let mut node = ROOT;
        for component in path.components() {
            let Component::Normal(name) = component else { continue };
            let Inode::Folder(folder) = &self.inodes[node] else { return None };
            node = *folder.live.get(name.to_str()?)?;
        }
        Some(node)
    }

    fn parent(&mut self, path: &Path) -> &mut FolderNode {
        let node = path.parent().and_then(|parent| self.find(parent));
        self.folder(node.expect("only in a folder that is there can names change"))
    }

    fn folder(&mut self, node: Node) -> &mut FolderNode {
        match &mut self.inodes[node] {
            Inode::Folder(folder) => folder,
            Inode::File(_) => unreachable!("the real file system took it for a folder"),
        }
    }

    fn file(&mut self, node: Node) -> &mut FileNode {
        match &mut self.inodes[node] {
            Inode::File(file) => file,
            Inode::Folder(_) => unreachable!("the real file system took it for a file"),
        }
    }
}

impl FileNode {
    fn sync(&mut self, modified: Option<SystemTime>) {
        if !self.pending.is_empty() {
            for write in std::mem::take(&mut self.pending) {
                write.apply(&mut self.durable, usize::MAX);
            }
            self.version += 1;
            self.modified = modified;
        }
    }

    fn content(
        &self,
        node: Node,
        unsynced: Unsynced,
        random: &mut Random,
        keep: &mut impl FnMut(&mut Random) -> bool,
    ) -> Content<'_> {
        if self.pending.is_empty() || unsynced == Unsynced::Lost {
            let same = Some((node, self.version));
            return Content { bytes: self.durable.as_slice().into(), same, modified: self.modified };
        }
        let mut bytes = self.durable.clone();
        for write in &self.pending {
            if keep(random) {
                write.apply(&mut bytes, usize::MAX);
            } else if let Write::At(_, whole) = write
                && unsynced == Unsynced::Torn
                && random.one_in(2)
            {
                write.apply(&mut bytes, random.below(whole.len()));
            }
        }
        Content { bytes: bytes.into(), same: None, modified: None }
    }
}

impl Write {
    /// Writes at most the first `most` bytes. What lies before them and was never written reads as zeros.
    fn apply(&self, content: &mut Vec<u8>, most: usize) {
        match self {
            Write::Cut(length) => content.resize(*length, 0),
            Write::At(at, bytes) => {
                let bytes = &bytes[..bytes.len().min(most)];
                if content.len() < at + bytes.len() {
                    content.resize(at + bytes.len(), 0);
                }
                content[*at..at + bytes.len()].copy_from_slice(bytes);
            }
        }
    }
}

impl FolderNode {
    fn names(
        &self,
        random: &mut Random,
        keep: &mut impl FnMut(&mut Random) -> bool,
    ) -> BTreeMap<String, Node> {
        let mut names = self.durable.clone();
        for naming in self.pending.iter().filter(|_| keep(random)) {
            match naming {
                Naming::Name(name, node) => {
                    names.insert(name.clone(), *node);
                }
                Naming::Unname(name) => {
                    names.remove(name);
                }
                Naming::Rename(from, to, node) => {
                    names.remove(from);
                    names.insert(to.clone(), *node);
                }
            }
        }
        names
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().expect("the root has no name that changes").to_string_lossy().into_owned()
}
