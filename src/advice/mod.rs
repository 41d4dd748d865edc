//! What is known to cost speed on Apple's chips, or to go wrong there, found in a typed graph.
//!
//! | module | what it holds |
//! |---|---|
//! | [`Rule`], [`Scene`], [`Found`] | one rule, what it looks at, and what it finds |
//! | [`Remark`] | equal findings of repeated layers as one |
//! | `shapes` | rules about shapes, for hardware that pairs two output channels |
//! | `threads` | combinations that went wrong for somebody, each with the public thread |
//! | `text` | the table |
//!
//! Nothing here was measured by this project: each rule says who found it, and how. A remark is no
//! error. `docs/int8-path.md` lists the rules.

mod remark;
mod shapes;
#[cfg(test)]
mod tests;
mod text;
mod threads;

pub use remark::Remark;
pub use text::{in_short, to_text};

use crate::chips::Chip;
use crate::graph::{Function, Program};
use crate::int8_path::Int8Path;
use crate::target::Target;
use serde::{Deserialize, Serialize};

/// What follows from what a rule finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// The result is wrong, and nothing says so.
    Wrong,
    /// The package does not load, or a prediction fails.
    Fails,
    /// An operation, or all of a function, runs on another unit than the Neural Engine.
    Placement,
    /// It takes longer, or more memory.
    Slower,
}

/// How a rule is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    /// Measured by the source, on a device it names.
    Measured,
    /// Said by Apple.
    Documented,
    /// Reported by users; others may see something else, and a later system may have repaired it.
    Reported,
    /// Read from a compiler by the source, or concluded from what it says.
    Inferred,
}

/// One rule.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Its short name, the same in every version.
    pub id: &'static str,
    /// What follows.
    pub effect: Effect,
    /// Who says so: a public thread, a page, a paper.
    pub source: &'static str,
    /// How it is known.
    pub confidence: Confidence,
    /// Finds every place.
    look: fn(&Scene<'_>) -> Vec<Found>,
}

/// What rules look at.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The function with the default sizes of its inputs, where these fix all others.
    pub function: &'a Function,
    /// The function as it is declared.
    pub declared: &'a Function,
    /// Its INT8 path.
    pub path: &'a Int8Path,
    /// Which systems must read it.
    pub target: Target,
    /// The chip that it is for; `None` is any.
    pub chip: Option<&'a Chip>,
    /// Whether it is still to be lowered: below iOS 26 a palette's channel scale then becomes a `mul`.
    pub planned: bool,
}

/// One place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The operation, input or value.
    pub at: String,
    /// What is the case there, and what follows.
    pub about: String,
    /// What would do.
    pub remedy: String,
}

impl Found {
    fn new(at: &str, about: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { at: at.to_owned(), about: about.into(), remedy: remedy.into() }
    }
}

/// What is wanted to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// Shapes that hardware of pairs dislikes.
    Shapes,
    /// Known-bad combinations.
    Threads,
}

impl Topic {
    /// The rules.
    pub fn rules(self) -> &'static [Rule] {
        match self {
            Self::Shapes => shapes::RULES,
            Self::Threads => threads::RULES,
        }
    }
}

/// The remarks on a program, the gravest first. `fixed` gives a function with the default shapes of
/// its inputs, where that can be known; `planned` is as in [`Scene`].
pub fn advise(
    topic: Topic,
    program: &Program,
    target: Target,
    chip: Option<&Chip>,
    fixed: &dyn Fn(&Function) -> Option<Function>,
    planned: bool,
) -> Vec<Remark> {
    let mut found = Vec::new();
    // Functions of one product each are the layers of a layer package: each is called as its function.
    let paths: Vec<(&String, &Function, Option<Function>)> = program
        .functions
        .iter()
        .map(|(name, function)| (name, function, fixed(function)))
        .collect();
    let paths: Vec<_> = paths
        .iter()
        .map(|(name, declared, fixed)| {
            let function = fixed.as_ref().unwrap_or(*declared);
            (*name, *declared, function, Int8Path::of(function))
        })
        .collect();
    let in_layers = paths.len() > 1 && paths.iter().all(|(.., path)| path.products.len() <= 1);
    for (name, declared, function, path) in &paths {
        let scene = Scene { function, declared, path, target, chip, planned };
        for rule in topic.rules() {
            found.extend((rule.look)(&scene).into_iter().map(|mut found| {
                if in_layers {
                    found.at.clone_from(name);
                }
                (rule, found)
            }));
        }
    }
    remark::fold(found)
}
