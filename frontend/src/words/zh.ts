import type { Words } from './words';

export const zh: Words = {
  copy: '复制',
  copied: '已复制',
};
