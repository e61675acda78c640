//! Checkpoints as people have them: with files that other writers wrote, in wrappers, with words of their own.

mod configurations;
mod files;
mod made;
mod preprocessors;
mod round_trips;
mod timm_folders;
mod wrappers;
