"""Writes picture_cases.json: small files of many kinds, and the pixels that Pillow gives.

Pixels are `ImageOps.exif_transpose(Image.open(f)).convert("RGB")`, which is what `datasets` hands
on. Run with Pillow 13 and NumPy: python make_picture_cases.py
"""

import base64
import io
import json
import struct
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

W, H = 7, 5
rng = np.random.default_rng(0)
rgb = rng.integers(0, 256, (H, W, 3), dtype=np.uint8)
alpha = rng.integers(0, 256, (H, W, 1), dtype=np.uint8)
grey = rng.integers(0, 256, (H, W), dtype=np.uint8)
R = Image.fromarray(rgb)
A = Image.fromarray(np.concatenate([rgb, alpha], -1))
G = Image.fromarray(grey)
P = R.quantize(12)
cases = []


def b64(data):
    return base64.b64encode(data).decode()


def add(name, data, tolerance=0):
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    cases.append(dict(name=name, file=b64(data), width=image.width, height=image.height,
                      rgb=b64(image.tobytes()), tolerance=tolerance))


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def oriented(value):
    exif = Image.Exif()
    exif[0x112] = value
    return exif


# WebP
add("WebP, lossy", saved(R, "WEBP", quality=80))
add("WebP, lossless", saved(R, "WEBP", lossless=True))
add("WebP, lossy with alpha", saved(A, "WEBP", quality=80))
add("WebP, lossless with exact alpha", saved(A, "WEBP", lossless=True, exact=True))
add("WebP, animated", saved(R, "WEBP", save_all=True, append_images=[R.rotate(180)], lossless=True))
add("WebP, animated with alpha",
    saved(A, "WEBP", save_all=True, append_images=[A.rotate(180)], quality=70))
# BMP
for name, image in dict(RGB=R, grey=G, palette=P, bilevel=G.convert("1"), RGBA=A).items():
    add(f"BMP, {name}", saved(image, "BMP"))


def bmp(header, pixels, palette=b""):
    offset = 14 + len(header) + len(palette)
    return b"BM" + struct.pack("<IHHI", offset + len(pixels), 0, 0, offset) + header + palette + pixels


def rows(array):
    return [r.tobytes() + b"\0" * (-r.nbytes % 4) for r in array]


bgr = np.ascontiguousarray(rgb[:, :, ::-1])
bgra = np.ascontiguousarray(np.concatenate([bgr, alpha], -1))
info = lambda height, bits, compression=0, colors=0: struct.pack(
    "<IiiHHIIiiII", 40, W, height, 1, bits, compression, 0, 2835, 2835, colors, 0)
add("BMP, top row first", bmp(info(-H, 24), b"".join(rows(bgr))))
add("BMP, OS/2", bmp(struct.pack("<IHHHH", 12, W, H, 1, 24), b"".join(rows(bgr)[::-1])))
masks = struct.pack("<III", 0xFF0000, 0xFF00, 0xFF)
add("BMP, bit fields", bmp(info(H, 32, 3) + masks, b"".join(rows(bgra)[::-1])))
short = bytes(rng.integers(0, 256, 40, dtype=np.uint8))
add("BMP, short palette", bmp(info(H, 8, 0, 10), b"".join(rows(grey % 10)[::-1]), short))
# TIFF
for compression in [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"]:
    for name, image in dict(RGB=R, RGBA=A, grey=G, palette=P, bilevel=G.convert("1")).items():
        add(f"TIFF, {name}, {compression}", saved(image, "TIFF", compression=compression))
add("TIFF, fax group 4", saved(G.convert("1"), "TIFF", compression="group4"))
add("TIFF, grey with alpha", saved(A.convert("LA"), "TIFF"))
add("TIFF, predictor", saved(R, "TIFF", compression="tiff_lzw", tiffinfo={317: 2}))
add("TIFF, two pages", saved(R, "TIFF", save_all=True, append_images=[R.rotate(180)]))
# Orientations
for value in range(1, 9):
    add(f"JPEG, orientation {value}", saved(R.resize((64, 40)), "JPEG", quality=95,
                                            exif=oriented(value)), 4)
    add(f"PNG, orientation {value}", saved(R, "PNG", exif=oriented(value)))
    add(f"WebP, orientation {value}", saved(R, "WEBP", lossless=True, exif=oriented(value)))
    add(f"TIFF, orientation {value}", saved(R, "TIFF", exif=oriented(value)))
xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
add("JPEG, orientation in XMP", saved(R.resize((64, 40)), "JPEG", quality=95, xmp=xmp), 4)
add("WebP, orientation in XMP", saved(R, "WEBP", lossless=True, xmp=xmp))
# An animated PNG whose default image is not a frame
add("PNG, animated, with a default image", saved(
    R, "PNG", save_all=True, default_image=True, append_images=[R.rotate(180), R.rotate(90)]))
add("PNG, animated", saved(R, "PNG", save_all=True, append_images=[R.rotate(180)]))

# GIF: frames at an offset, transparency, local colour tables
TABLE = [(10, 10, 200), (255, 0, 0), (0, 255, 0), (9, 8, 7)]
LOCAL = [(1, 2, 3), (200, 100, 50), (60, 70, 80), (90, 91, 92)]


def lzw(pixels):
    out, n, data = 0, 0, bytearray()
    codes = []
    for i, pixel in enumerate(pixels):
        if i % 2 == 0:
            codes.append(4)
        codes.append(pixel)
    for code in codes + [5]:
        out |= code << n
        n += 3
        while n >= 8:
            data.append(out & 255)
            out >>= 8
            n -= 8
    if n:
        data.append(out & 255)
    return b"\2" + bytes([len(data)]) + bytes(data) + b"\0"


def gif(box, transparent=None, local=None, table=TABLE, background=0, interlaced=False):
    table_bytes = b"".join(map(bytes, table)) if table else b""
    flags = 0x81 if table else 0
    file = b"GIF89a" + struct.pack("<HHBBB", 9, 7, flags, background, 0) + table_bytes
    control = [1 if transparent is not None else 0, 5, 0, transparent or 0, 0]
    file += b"\x21\xf9\x04" + bytes(control)
    flags = (0x81 if local else 0) | (0x40 if interlaced else 0)
    file += b"\x2c" + struct.pack("<HHHHB", *box, flags)
    if local:
        file += b"".join(map(bytes, local))
    pixels = [(i * 7 + i // box[2]) % 4 for i in range(box[2] * box[3])]
    return file + lzw(pixels) + b"\x3b"


add("GIF, whole", gif((0, 0, 9, 7)))
add("GIF, at an offset", gif((2, 1, 4, 3)))
add("GIF, at an offset, background 2", gif((2, 1, 4, 3), background=2))
add("GIF, transparent", gif((0, 0, 9, 7), transparent=1))
add("GIF, transparent at an offset", gif((2, 1, 4, 3), transparent=3, background=2))
add("GIF, local table", gif((2, 1, 4, 3), local=LOCAL, background=1))
add("GIF, local table alone", gif((2, 1, 4, 3), local=LOCAL, transparent=2, table=None))
add("GIF, interlaced", gif((0, 0, 9, 7), interlaced=True))
add("GIF, larger than its screen", gif((6, 5, 8, 6)))

lines = ",\n".join(json.dumps(case) for case in cases)
Path(__file__).with_name("picture_cases.json").write_text(f"[\n{lines}\n]\n")
print(len(cases), "cases")
