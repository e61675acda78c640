//! The embedded scenes.
#![cfg(feature = "fashion-mnist")]

use beit_data::{Image, Scenes, Source, Split, check_masks, fashion_mnist, open};

#[test]
fn a_scene_depends_on_its_seed_split_and_number() {
    let scenes = Scenes::standard(Split::Train);
    let scene = scenes.scene(7);
    assert_eq!((scenes.image(7).unwrap(), scenes.mask(7).unwrap()), (scene.0.clone(), Some(scene.1.clone())));
    assert_eq!(Scenes::new(Split::Train, 0, 8).scene(7), scene);
    for other in
        [scenes.scene(8), Scenes::standard(Split::Test).scene(7), Scenes::new(Split::Train, 1, 8).scene(7)]
    {
        assert!(other.0 != scene.0 && other.1 != scene.1);
    }
    assert_eq!(scenes.size(7).unwrap(), [scene.0.height(), scene.0.width()]);
}

#[test]
fn every_garment_is_there_and_much_of_the_ground() {
    for (split, len) in [(Split::Train, 2000), (Split::Test, 500)] {
        let source = open("scenes", split).unwrap();
        assert_eq!((source.len(), source.mask_classes().len(), source.class_names().len()), (len, 11, 0));
        assert_eq!(
            [0, 1, 10].map(|class| source.mask_classes()[class].as_str()),
            ["ground", "T-shirt/top", "Ankle boot"]
        );
        let all: Vec<usize> = (0..len.min(400)).collect();
        let census = check_masks(&source, &all, |_| true).unwrap();
        let total: u64 = census.pixels.iter().sum();
        assert_eq!((total, census.ignored, census.void), (64 * 64 * all.len() as u64, 0, 0));
        let share = |class: usize| census.pixels[class] as f64 / total as f64;
        assert!((0.4..0.85).contains(&share(0)), "{split}: ground {}", share(0));
        // Of what is not ground, a tenth each if all were as large; sandals are small.
        assert!((1..11).all(|class| share(class) > 0.004), "{split}: {:?}", census.pixels);
    }
}

/// The best that a threshold of one channel does at telling garments from the ground, over pixels of both, half each.
#[test]
fn no_channel_tells_garments_from_the_ground() {
    let scenes = Scenes::standard(Split::Train);
    let mut counts = [[[0_u64; 256]; 2]; 4];
    for index in 0..400 {
        let (image, mask) = scenes.scene(index);
        for (pixel, &id) in image.pixels().chunks_exact(3).zip(mask.ids()) {
            let mean = (pixel.iter().map(|&value| u32::from(value)).sum::<u32>() / 3) as u8;
            for (channel, value) in [pixel[0], pixel[1], pixel[2], mean].into_iter().enumerate() {
                counts[channel][usize::from(id > 0)][usize::from(value)] += 1;
            }
        }
    }
    for (channel, [ground, garment]) in counts.iter().enumerate() {
        let (all_ground, all_garment) =
            (ground.iter().sum::<u64>() as f64, garment.iter().sum::<u64>() as f64);
        let (mut below_ground, mut below_garment, mut best) = (0, 0, 0.5_f64);
        for value in 0..256 {
            below_ground += ground[value];
            below_garment += garment[value];
            let right =
                0.5 + (below_ground as f64 / all_ground - below_garment as f64 / all_garment).abs() / 2.0;
            best = best.max(right);
        }
        assert!(best < 0.7, "channel {channel}: {best}");
    }
}

/// Garments have their texture: what the mask calls ground is never a piece of one, and colours vary within a scene.
#[test]
fn garments_of_a_split_are_its_own() {
    let own = fashion_mnist(Split::Train);
    assert_eq!((own.mask(0).unwrap(), own.mask_classes().len()), (None, 0));
    let textured = (0..50).filter(|&index| {
        let (image, mask) = Scenes::standard(Split::Train).scene(index);
        let values: std::collections::BTreeSet<&[u8]> = image
            .pixels()
            .chunks_exact(3)
            .zip(mask.ids())
            .filter(|(_, id)| **id > 0)
            .map(|(pixel, _)| pixel)
            .collect();
        values.len() > 20
    });
    assert!(textured.count() > 45);
    let _: Image = own.image(0).unwrap();
}
