/** /dev/sgx counts what every node counts; so do the enclaves' descriptors that come from it. */
import { DeviceMetrics } from '../device-metrics.ts';

export type SgxMetrics = DeviceMetrics;

export const metricsOf = (): SgxMetrics => new DeviceMetrics();
