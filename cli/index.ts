/** What the command line offers to other programs: packing and scaffolding. */
export { packFolder, type PackedPackage } from './pack/pack.ts';
export { createComponent } from './new-component/new-component.ts';
export type { Template } from './new-component/templates.ts';
