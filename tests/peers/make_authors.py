"""Checkpoints as the authors' training code saves them: unilm's .pth files and OpenAI's pickled modules.

The tensors and logits are those of transformers and timm models, with the authors' LayerNorm eps, under
the authors' names; `check_authors.py` loads the files with the authors' own classes.
"""

import argparse
import pathlib
import tempfile

import torch

from dalle_modules import Decoder, Encoder, as_torch_1
from layouts import canonical, read_tensors, with_index
from make_packaged import PLAIN, codebook, mim, segmenter, timm_model
from maker import AUTHORS_EPS
from weights import conv_tensor, fill


def authors_tensors(model):
    """The tensors of a transformers or timm model under unilm's names, index buffers included."""
    if not hasattr(model, "save_pretrained"):
        return with_index(model.state_dict())
    with tempfile.TemporaryDirectory() as scratch:
        model.save_pretrained(scratch)
        return with_index(canonical(read_tensors(pathlib.Path(scratch))))


def optimizer_state():
    """What AdamW saves after one step."""
    parameter = torch.nn.Parameter(torch.ones(3, 5))
    optimizer = torch.optim.AdamW([parameter], lr=5e-4)
    parameter.sum().backward()
    optimizer.step()
    return optimizer.state_dict()


def training_file(tensors):
    """What unilm's `save_model` saves."""
    options = argparse.Namespace(model="beit_base_patch16_224", lr=5e-4, layer_decay=0.65, opt_betas=None, eval=False)
    scaler = torch.amp.GradScaler("cpu").state_dict()
    return dict(model=tensors, optimizer=optimizer_state(), epoch=3, scaler=scaler, args=options)


def segmentation_file(tensors):
    """What mmcv's `save_checkpoint` saves."""
    return dict(meta=dict(epoch=1, iter=160000, CLASSES=("wall", "building")), state_dict=tensors)


def save_zip(stored, file):
    """The container of torch 1.6 and later."""
    torch.save(stored, file)


def save_legacy(stored, file):
    """The container of torch 1.5 and earlier: a sequence of pickles."""
    torch.save(stored, file, _use_new_zipfile_serialization=False)


def unilm(maker, name, task, model, wrap=training_file, write=save_zip):
    """One .pth file of unilm."""
    inputs = maker.pictures(mask=task == "mim")
    save = lambda path: write(wrap(authors_tensors(model)), path)
    known = dict(model=model, inputs=inputs) if task != "segment" else {}
    maker.add(name, "checkpoint.pth", "unilm", task, save, eps=AUTHORS_EPS, **known)


def unilm_tiny(maker):
    """Every model, wrapper and container of unilm."""
    authors_mim = lambda **options: mim(maker, layer_norm_eps=AUTHORS_EPS, **options)
    for kind, write in (("", save_zip), ("-legacy", save_legacy)):
        unilm(maker, f"unilm-classify{kind}", "classify", timm_model(maker), write=write)
        unilm(maker, f"unilm-mim{kind}", "mim", authors_mim(), write=write)
    unilm(maker, "unilm-mim-plain", "mim", authors_mim(**PLAIN))
    # deepspeed's wrapper and number type, and bare tensors.
    unilm(maker, "unilm-classify-half", "classify", timm_model(maker).half(), lambda tensors: dict(module=tensors))
    unilm(maker, "unilm-classify-bare", "classify", timm_model(maker), dict)
    unilm(maker, "unilm-segment", "segment", segmenter(maker), segmentation_file)


def same_encoder(model, **shape):
    """OpenAI's encoder with the tensors of a FlavaImageCodebook."""
    encoder = Encoder(**shape)
    encoder.load_state_dict(canonical(model.state_dict()))
    return encoder.eval()


def openai(maker, name, file, write, model, task="codebook"):
    """One file of the dVAE; the decoder's is weights only."""
    known = dict(model=model, inputs=maker.dvae_pictures()) if task == "codebook" else {}
    maker.add(name, file, "openai", task, lambda path: write(model, path), **known)


def save_modules_of_torch_1(model, file):
    """A whole module as in the published files: OrderedDicts inside."""
    save_zip(as_torch_1(model), file)


def save_modules_legacy(model, file):
    """The same in the older container, which carries the source of each class too."""
    save_legacy(as_torch_1(model), file)


def save_state(model, file):
    """A state dict, as mmselfsup publishes it."""
    save_zip(model.state_dict(), file)


def openai_all(maker):
    """The dVAE in every container at tiny size, and as published at the real one."""
    tiny = maker.size == "tiny"
    encode, decode = (dict(n_hid=8, vocab_size=16), dict(n_init=16, n_hid=4, vocab_size=16)) if tiny else ({}, {})
    encoder = lambda: same_encoder(codebook(maker), **encode)
    decoder = lambda: fill(Decoder(**decode), conv_tensor, 8)
    openai(maker, "openai-encoder", "encoder.pkl", save_modules_of_torch_1, encoder())
    openai(maker, "openai-decoder", "decoder.pkl", save_modules_of_torch_1, decoder(), "decoder")
    if tiny:
        openai(maker, "openai-encoder-modern", "encoder.pkl", save_zip, encoder())
        openai(maker, "openai-encoder-legacy", "encoder.pkl", save_modules_legacy, encoder())
        openai(maker, "openai-decoder-legacy", "decoder.pkl", save_modules_legacy, decoder(), "decoder")
        openai(maker, "openai-encoder-state", "dalle_encoder.pth", save_state, encoder())


def make(maker):
    """Everything of this file at the maker's size; the large transformer is transformers' alone."""
    if maker.size == "tiny":
        unilm_tiny(maker)
    elif maker.size == "base":
        unilm(maker, "unilm-classify", "classify", timm_model(maker))
    if maker.size != "large":
        openai_all(maker)
