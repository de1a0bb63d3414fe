/** What all HTTP APIs of Holdfast have in common. */
export { actorOf } from './actor.ts';
export { createApi, type Api, type ApiOptions } from './api.ts';
export { acceptUploads, knownUpload, UPLOAD_TYPES, withUpload } from './upload.ts';
export { allows, issueToken, SCOPES, scopeOf, type Scope } from './token.ts';
