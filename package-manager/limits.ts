/** What a package may cost at most. Every figure is checked as declared in the ZIP and again against the real bytes. */

export interface PackageLimits {
  /** Size of the ZIP file. */
  archiveBytesMax: number;
  /** Sum of all files after unpacking. */
  totalBytesMax: number;
  /** One file after unpacking. */
  entryBytesMax: number;
  /** Unpacked over packed, of one file and of the whole archive. */
  ratioMax: number;
  /** Below this unpacked size the ratio is not looked at: small repetitive files compress well and harm nobody. */
  ratioFloorBytes: number;
  /** Files and folders together; folders that are only implied by a file's path count too. */
  entriesMax: number;
  /** One entry's path, in UTF-8. */
  pathBytesMax: number;
  /** Path segments of an entry. */
  depthMax: number;
  /** One path segment, in UTF-8 (file systems stop at 255). */
  segmentBytesMax: number;
  manifestBytesMax: number;
}

const mebibyte = 1024 * 1024;

/** Generous for bundled code with assets, small enough that a node survives the worst ZIP that passes. */
export const defaultPackageLimits: Readonly<PackageLimits> = Object.freeze({
  archiveBytesMax: 256 * mebibyte,
  totalBytesMax: 1024 * mebibyte,
  entryBytesMax: 256 * mebibyte,
  ratioMax: 200,
  ratioFloorBytes: mebibyte,
  entriesMax: 10_000,
  pathBytesMax: 512,
  depthMax: 32,
  segmentBytesMax: 255,
  manifestBytesMax: mebibyte,
});

const gibibyte = 1024 * mebibyte;

/** Of ZIPs that hold many packages. What is over it is refused before it is read; what is below costs disk, not memory. */
export const archiveLimits: Readonly<PackageLimits> = Object.freeze({
  archiveBytesMax: 64 * gibibyte,
  totalBytesMax: 64 * gibibyte,
  entryBytesMax: gibibyte / 2,
  ratioMax: 200,
  ratioFloorBytes: 64 * mebibyte,
  entriesMax: 200_000,
  pathBytesMax: 512,
  depthMax: 2,
  segmentBytesMax: 255,
  manifestBytesMax: 64 * mebibyte,
});
